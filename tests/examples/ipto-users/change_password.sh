curl -X POST https://api.ipto.ai/v1/me/password \
  -H "Authorization: Bearer {token}" \
  -H "Content-Type: application/json" \
  -d '{
    "current_password": "s3cur3P@ssw0rd!",
    "new_password": "n3wS3cur3P@ss!"
  }'
