// The current user by a session and by an API key, with the generated Go client.
package main

import (
	"context"
	"fmt"
	"os"

	"openapi"
)

func email(credential context.Context) string {
	configuration := openapi.NewConfiguration()
	configuration.Servers = openapi.ServerConfigurations{{URL: os.Getenv("ONESELF_URL")}}
	client := openapi.NewAPIClient(configuration)
	user, _, err := client.IptoAPI.IptoGetCurrentUser(credential).Execute()
	if err != nil {
		panic(err)
	}
	return user.Data.Email
}

func main() {
	empty := context.Background()
	session := context.WithValue(empty, openapi.ContextAccessToken, os.Getenv("SESSION"))
	fmt.Println(email(session))
	keys := map[string]openapi.APIKey{"apiKey": {Key: os.Getenv("API_KEY")}}
	fmt.Println(email(context.WithValue(empty, openapi.ContextAPIKeys, keys)))
}
