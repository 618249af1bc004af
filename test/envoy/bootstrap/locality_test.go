package bootstrap

import (
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestAProxyKnowsItsZone: what the labels of the pod say arrives in Envoy, and labels that are missing do no harm.
func TestAProxyKnowsItsZone(t *testing.T) {
	for _, version := range []string{newest, oldest} {
		for _, c := range []struct{ name, region, zone, want string }{
			{"both labels", "eu", "eu-1", `{"region":"eu","zone":"eu-1"}`},
			{"no region", "", "eu-1", `{"zone":"eu-1"}`},
			{"no labels", "", "", `{}`},
		} {
			t.Run(version+" "+c.name, func(t *testing.T) {
				t.Parallel()
				folder := newCredentialFolder(t)
				folder.token("x")
				_, ca := certificate(t, serverName)
				s := settings(t, &controlPlane{port: freePort(t), ca: ca}, folder)
				config := argumentIn(t, s, c.region, c.zone)
				out, err := exec.CommandContext(t.Context(), binary(t, version), "--mode", "validate", "--config-yaml", config, "--disable-hot-restart", "--skip-deprecated-logs").CombinedOutput()
				if err != nil || strings.Contains(string(out), "[warning]") || strings.Contains(string(out), "[error]") {
					t.Errorf("%v\n%s", err, out)
				}
				p := startWith(t, s.Admin.Pipe, binary(t, version), "--config-yaml", config, "--concurrency", "1", "--disable-hot-restart", "--skip-deprecated-logs")
				eventually(t, 10*time.Second, "the locality of Envoy", c.want, func() string { return locality(p) })
			})
		}
	}
}

// locality is what Envoy says about itself, without blanks.
func locality(p *proxy) string {
	response, err := p.admin.Get("http://admin/server_info")
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	var info struct {
		Node struct {
			Locality map[string]string `json:"locality"`
		} `json:"node"`
	}
	if err := json.Unmarshal(body, &info); err != nil {
		return err.Error()
	}
	for key, value := range info.Node.Locality {
		if value == "" {
			delete(info.Node.Locality, key)
		}
	}
	if info.Node.Locality == nil {
		info.Node.Locality = map[string]string{}
	}
	text, _ := json.Marshal(info.Node.Locality)
	return string(text)
}
