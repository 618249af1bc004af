package apiserver_test

import (
	"net/http"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/aftermesh/aftermesh/test/apiserver"
)

func TestServersSideBySide(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real API servers")
	}
	for _, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := apiserver.Start(t)
			client, err := rest.HTTPClientFor(server.Config())
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Get(server.URL + "/openid/v1/jwks")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("keys of service-account tokens: %s", resp.Status)
			}
		})
	}
}
