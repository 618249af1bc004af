package bootstrap

import (
	"slices"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// onEach runs a test with the newest and the oldest supported Envoy.
func onEach(t *testing.T, test func(t *testing.T, envoy string)) {
	t.Helper()
	for _, version := range []string{newest, oldest} {
		t.Run(version, func(t *testing.T) { test(t, binary(t, version)) })
	}
}

func TestARotatedTokenIsSentOnTheNextStream(t *testing.T) {
	onEach(t, func(t *testing.T, envoy string) {
		server, folder := serve(t, serverName), newCredentialFolder(t)
		folder.token("first")
		p := start(t, envoy, settings(t, server, folder))
		t.Logf("ready after %s", eventually(t, 10*time.Second, "state", "LIVE", p.state))
		if got, want := server.authorizations(), []string{"Bearer first"}; !slices.Equal(got, want) {
			t.Fatalf("authorizations %q, want %q", got, want)
		}
		if got, want := server.nodeID(), "mesh/demo/virtualNode/front_demo"; got != want {
			t.Errorf("node id %q, want %q", got, want)
		}
		for _, token := range []string{"second", "third", "fourth"} {
			folder.token(token)
			// Envoy needs a moment to see the swap; the streams that it opens meanwhile may carry the old token.
			took := eventually(t, 10*time.Second, "authorization", "Bearer "+token, func() string {
				if server.last() != "Bearer "+token {
					server.closeStreams()
					time.Sleep(300 * time.Millisecond)
				}
				return server.last()
			})
			t.Logf("token %q was used %s after the swap", token, took.Round(time.Millisecond))
		}
		if state := p.state(); state != "LIVE" {
			t.Errorf("state %q after three lost streams, want LIVE", state)
		}
	})
}

func TestAMissingTokenDelaysTheStartAndDoesNotPreventIt(t *testing.T) {
	cases := []struct {
		name  string
		files func(f *credentialFolder) map[string]string
	}{
		{"the SDS file without the token", func(f *credentialFolder) map[string]string {
			f.link("token")
			return map[string]string{"credential.json": bootstrap.CredentialSDS(f.file("token"))}
		}},
		{"an empty token", func(f *credentialFolder) map[string]string {
			return map[string]string{"credential.json": bootstrap.CredentialSDS(f.file("token")), "token": ""}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, envoy string) {
				server, folder := serve(t, serverName), newCredentialFolder(t)
				folder.write(c.files(folder))
				p := start(t, envoy, settings(t, server, folder))
				eventually(t, 10*time.Second, "state", "PRE_INITIALIZING", p.state)
				time.Sleep(time.Second)
				if got := server.authorizations(); len(got) > 0 {
					t.Fatalf("streams without a token reached the server: %q", got)
				}
				folder.token("late")
				t.Logf("ready %s after the token came", eventually(t, 20*time.Second, "state", "LIVE", p.state).Round(time.Millisecond))
				if got := server.last(); got != "Bearer late" {
					t.Errorf("authorization %q, want the late token", got)
				}
			})
		})
	}
}

func TestAServerWithAnotherCertificateGetsNoToken(t *testing.T) {
	cases := []struct {
		name string
		make func(t *testing.T) *controlPlane
	}{
		{"another name", func(t *testing.T) *controlPlane { return serve(t, "evil.example") }},
		{"another root", func(t *testing.T) *controlPlane {
			c := serve(t, serverName)
			_, c.ca = certificate(t, serverName)
			return c
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server, folder := c.make(t), newCredentialFolder(t)
			folder.token("secret")
			p := start(t, binary(t, newest), settings(t, server, folder))
			eventually(t, 10*time.Second, "state", "PRE_INITIALIZING", p.state)
			time.Sleep(2 * time.Second)
			if got := server.authorizations(); len(got) > 0 {
				t.Errorf("the server got %q", got)
			}
			if state := p.state(); state != "PRE_INITIALIZING" {
				t.Errorf("state %q, want PRE_INITIALIZING", state)
			}
		})
	}
}

// The control plane's return must be noticed at once, not after Envoy's default back-off.
func TestStreamsComeBackSoonAfterAnOutage(t *testing.T) {
	server, folder := serve(t, serverName), newCredentialFolder(t)
	folder.token("first")
	p := start(t, binary(t, newest), settings(t, server, folder))
	eventually(t, 10*time.Second, "state", "LIVE", p.state)
	before := len(server.authorizations())
	server.closeStreams()
	took := eventually(t, 5*time.Second, "new stream", "yes", func() string {
		if len(server.authorizations()) > before {
			return "yes"
		}
		return "no"
	})
	t.Logf("a new stream came after %s", took.Round(time.Millisecond))
}
