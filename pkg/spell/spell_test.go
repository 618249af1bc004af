package spell

import "testing"

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"hostname", "protocol", "port", "path", "egressIgnoredPorts", "egressIgnoredIPs"}
	for word, want := range map[string]string{
		"hostName":          "hostname",
		"egresIgnoredPorts": "egressIgnoredPorts",
		"egressIgnoredPort": "egressIgnoredPorts",
		"prot":              "port",
		"protcol":           "protocol",
		"tracing":           "",
		"x":                 "",
		"":                  "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
