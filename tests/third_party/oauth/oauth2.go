// x/oauth2 with its defaults: it finds out by itself where the server takes the secret.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	jose "gopkg.in/square/go-jose.v2"
)

var (
	server   = os.Getenv("ONESELF_URL")
	clientID = os.Getenv("CLIENT_ID")
	secret   = os.Getenv("CLIENT_SECRET")
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(ok bool, message string) {
	if !ok {
		panic(message)
	}
}

func read(response *http.Response, err error, into any) {
	must(err)
	defer response.Body.Close()
	check(response.StatusCode == http.StatusOK, response.Status)
	must(json.NewDecoder(response.Body).Decode(into))
}

func get(path string, into any) {
	response, err := http.Get(server + path)
	read(response, err, into)
}

// The library has no grant of its own for the exchange, but takes another `grant_type` in the place
// of that of client credentials.
func exchange(id, secret string, style oauth2.AuthStyle) (*oauth2.Token, error) {
	config := clientcredentials.Config{
		ClientID: id, ClientSecret: secret, TokenURL: server + "/oauth/token", AuthStyle: style,
		EndpointParams: url.Values{
			"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token":      {os.Getenv("SESSION")},
			"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		},
	}
	return config.Token(context.Background())
}

func config(id, secret string, style oauth2.AuthStyle) *oauth2.Config {
	endpoint := oauth2.Endpoint{TokenURL: server + "/oauth/token", AuthStyle: style}
	return &oauth2.Config{ClientID: id, ClientSecret: secret, Endpoint: endpoint}
}

func refresh(config *oauth2.Config, token string) (*oauth2.Token, error) {
	expired := &oauth2.Token{RefreshToken: token, Expiry: time.Now().Add(-time.Hour)}
	return config.TokenSource(context.Background(), expired).Token()
}

func refused(err error, code string) {
	var refusal *oauth2.RetrieveError
	check(errors.As(err, &refusal) && strings.Contains(string(refusal.Body), code), fmt.Sprint(err))
}

func main() {
	var metadata struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	get("/.well-known/openid-configuration", &metadata)
	check(metadata.Issuer == server, metadata.Issuer)
	fmt.Println("discovery")

	var issued *oauth2.Token
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleAutoDetect, oauth2.AuthStyleInParams} {
		var err error
		issued, err = exchange(clientID, secret, style)
		must(err)
	}
	fmt.Println("exchange")

	var keys jose.JSONWebKeySet
	get(strings.TrimPrefix(metadata.Keys, server), &keys)
	signed, err := jose.ParseSigned(issued.AccessToken)
	must(err)
	payload, err := signed.Verify(keys.Key(signed.Signatures[0].Header.KeyID)[0])
	must(err)
	check(strings.Contains(string(payload), os.Getenv("USER_ID")), "another subject")
	fmt.Println("keys")

	// An expired token is renewed before the request, and in the next one again.
	expired := &oauth2.Token{RefreshToken: issued.RefreshToken, Expiry: time.Now().Add(-time.Hour)}
	detecting := config(clientID, secret, oauth2.AuthStyleAutoDetect)
	source := detecting.TokenSource(context.Background(), expired)
	client := oauth2.NewClient(context.Background(), source)
	var user struct {
		Data struct{ Email string } `json:"data"`
	}
	response, err := client.Get(server + "/v1/me")
	read(response, err, &user)
	check(user.Data.Email == os.Getenv("EMAIL"), user.Data.Email)
	fmt.Println("use")
	renewed, err := source.Token()
	must(err)
	check(renewed.RefreshToken != issued.RefreshToken, "the same refresh token")
	fmt.Println("refresh")

	// The library revokes nothing, so net/http does.
	id := os.Getenv("PUBLIC_ID")
	held, err := exchange(id, "", oauth2.AuthStyleInParams)
	must(err)
	form := url.Values{"client_id": {id}, "token": {held.RefreshToken}}
	revoked, err := http.PostForm(server+"/oauth/revoke", form)
	must(err)
	check(revoked.StatusCode == http.StatusOK, revoked.Status)
	_, err = refresh(config(id, "", oauth2.AuthStyleInParams), held.RefreshToken)
	refused(err, "invalid_grant")
	fmt.Println("public client")

	machine := clientcredentials.Config{
		ClientID: clientID, ClientSecret: secret, TokenURL: server + "/oauth/token",
	}
	_, err = machine.Token(context.Background())
	refused(err, "unsupported_grant_type")
	_, err = exchange(clientID, "wrong", oauth2.AuthStyleInHeader)
	refused(err, "invalid_client")
	fmt.Println("refusals")
}
