import requests

response = requests.post(
    "https://api.ipto.ai/v1/me/password",
    headers={"Authorization": "Bearer {token}"},
    json={
        "current_password": "s3cur3P@ssw0rd!",
        "new_password": "n3wS3cur3P@ss!",
    },
)
data = response.json()
