curl --request POST \
  --url https://example.com/v1/users/me/password \
  --header 'Authorization: Bearer <token>' \
  --header 'Content-Type: application/json' \
  --header 'X-Tenant-ID: 2489E9AD-2EE2-8E00-8EC9-32D5F69181C0' \
  --data '{ "current_password": "example", "new_password": "example" }'
