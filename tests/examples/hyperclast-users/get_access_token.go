package main

import (
	"encoding/json"
	"fmt"
	"net/http"
)

const (
	baseURL = "<BASE_URL>"
	token   = "<ACCESS_TOKEN>"
)

func main() {
	req, _ := http.NewRequest("GET", baseURL+"/api/users/me/token/", nil)
	req.Header.Set("Authorization", "Bearer "+token)

	resp, _ := http.DefaultClient.Do(req)
	defer resp.Body.Close()

	var result map[string]interface{}
	json.NewDecoder(resp.Body).Decode(&result)
	fmt.Println(result)
}
