const response = await fetch("https://api.ipto.ai/v1/me/password", {
  method: "POST",
  headers: {
    Authorization: "Bearer {token}",
    "Content-Type": "application/json",
  },
  body: JSON.stringify({
    current_password: "s3cur3P@ssw0rd!",
    new_password: "n3wS3cur3P@ss!",
  }),
});
const data = await response.json();
