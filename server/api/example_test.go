package api_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"fanfare/server"
	"fanfare/server/api"
)

// A program that embeds the server adds the API on a listener of its own.
func Example() {
	srv, err := server.New(server.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	if err := srv.Start(); err != nil {
		log.Fatal(err)
	}

	a, err := api.New(srv, api.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer a.Shutdown() // before the server's
	if err := a.Start(); err != nil {
		log.Fatal(err)
	}

	resp, err := http.Post("http://"+a.Addr().String()+"/v1/users/alice/push", "application/json", strings.NewReader(`{"hello":"world"}`))
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(body))
	// Output: {"receivers":0}
}

// The API is reachable from other machines only with a key.
func ExampleConfig_Validate() {
	fmt.Println(api.Config{Listen: "10.0.0.1:8081"}.Validate())
	fmt.Println(api.Config{Listen: "10.0.0.1:8081", Keys: []string{"a secret of 16 bytes or more"}}.Validate())
	// Output:
	// api: Keys is empty, and the API listens on 10.0.0.1:8081, which is not loopback: set a key, or listen on 127.0.0.1
	// <nil>
}
