const response = await fetch("https://api.ipto.ai/v1/me", {
  headers: { Authorization: "Bearer {token}" },
});
const data = await response.json();
