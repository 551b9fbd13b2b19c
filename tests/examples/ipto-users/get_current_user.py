import requests

response = requests.get(
    "https://api.ipto.ai/v1/me",
    headers={"Authorization": "Bearer {token}"},
)
data = response.json()
