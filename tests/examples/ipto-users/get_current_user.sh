curl -X GET https://api.ipto.ai/v1/me \
  -H "Authorization: Bearer {token}"
