package redirect

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func env(pairs ...string) func(string) string {
	values := map[string]string{
		EnvEnabled: "1", EnvIgnoreUID: "1337", EnvInboundPort: "15000", EnvOutboundPort: "15001",
		EnvAppPorts: "8080", EnvIgnoredPorts: "22", EnvIgnoredIPs: "169.254.169.254", EnvIPv6: "1",
	}
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return values[name] }
}

func TestSettingsAreReadFromTheEnvironment(t *testing.T) {
	c, err := FromEnv(env(EnvAppPorts, " 9111, 8080 ,8080", EnvIgnoreGID, "7", EnvIgnoredIPs, "fd00::1/8, 10.1.2.3/8,::ffff:192.0.2.1"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.AppPorts, []uint16{8080, 9111}) || *c.UID != 1337 || *c.GID != 7 || !c.IPv6 || c.InboundPort != 15000 || c.OutboundPort != 15001 {
		t.Errorf("settings %+v", c)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("fd00::/8")}
	if !slices.Equal(c.IgnoredIPs, want) {
		t.Errorf("ignored addresses %v, want %v", c.IgnoredIPs, want)
	}
}

func TestFaultySettingsAreNamed(t *testing.T) {
	cases := []struct {
		name    string
		env     func(string) string
		message string
	}{
		{"no owner", env(EnvIgnoreUID, ""), "one of APPMESH_IGNORE_UID and APPMESH_IGNORE_GID must be set"},
		{"a user by name", env(EnvIgnoreUID, "envoy"), `APPMESH_IGNORE_UID: "envoy" is not a numeric user or group id`},
		{"no outbound port", env(EnvOutboundPort, ""), "APPMESH_ENVOY_EGRESS_PORT must be set"},
		{"no inbound port", env(EnvInboundPort, ""), "APPMESH_ENVOY_INGRESS_PORT must be set when APPMESH_APP_PORTS lists ports"},
		{"a port that is none", env(EnvAppPorts, "80,http"), `APPMESH_APP_PORTS: "http" is not a port`},
		{"a port too high", env(EnvIgnoredPorts, "65536"), `APPMESH_EGRESS_IGNORED_PORTS: "65536" is not a port`},
		{"a trailing comma", env(EnvAppPorts, "80,"), `APPMESH_APP_PORTS: "" is not a port`},
		{"a host name", env(EnvIgnoredIPs, "db.example"), `APPMESH_EGRESS_IGNORED_IP: "db.example" is not an IP address or CIDR`},
		{"a zone", env(EnvIgnoredIPs, "fe80::1%eth0"), "is not an IP address or CIDR"},
		{"several at once", env(EnvAppPorts, "x", EnvIgnoreGID, "y"), "APPMESH_IGNORE_GID"},
	}
	for _, c := range cases {
		if _, err := FromEnv(c.env); err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v, want %q", c.name, err, c.message)
		}
	}
	if c, err := FromEnv(env(EnvEnabled, "0", EnvAppPorts, "nonsense")); err != nil || c.Enabled || c.Rules() != "" {
		t.Errorf("switched off: %+v, %v", c, err)
	}
}

func TestNetworksAreJoinedIntoRuns(t *testing.T) {
	cases := []struct{ name, list, v4, v6 string }{
		{"single addresses that adjoin", "192.0.2.1,192.0.2.2", "192.0.2.1-192.0.2.2", ""},
		{"two halves", "10.0.0.0/9,10.128.0.0/9", "10.0.0.0/8", ""},
		{"one inside the other", "10.0.0.0/8,10.1.0.0/16", "10.0.0.0/8", ""},
		{"a gap of one", "192.0.2.1,192.0.2.3", "192.0.2.1, 192.0.2.3", ""},
		{"both families to their ends", "0.0.0.0/0,::/0", "0.0.0.0/0", "::/0"},
		{"the last address", "255.255.255.255", "255.255.255.255", ""},
	}
	for _, c := range cases {
		prefixes, err := ParsePrefixes(c.list)
		if err != nil {
			t.Fatal(err)
		}
		config := Config{IgnoredIPs: prefixes}
		if v4, v6 := join(config.skipSpans(false)), join(config.skipSpans(true)); v4 != c.v4 || v6 != c.v6 {
			t.Errorf("%s: %q and %q, want %q and %q", c.name, v4, v6, c.v4, c.v6)
		}
	}
}

func TestTheSummaryReadsAsSentences(t *testing.T) {
	c, err := FromEnv(env(EnvIPv6, "0"))
	if err != nil {
		t.Fatal(err)
	}
	want := `inbound: TCP ports 8080 go to 15000; other ports reach the application directly
outbound: TCP goes to 15001, except
  from user 1337 (the proxy)
  to ports 22, 53 (22 and 53 are always left alone)
  to addresses 169.254.169.254
  to the pod itself and on loopback
families: IPv4; IPv6 is left alone
warning: attention`
	if got := (Summary{Config: c, Warnings: []string{"attention"}}).String(); got != want {
		t.Errorf("summary\n%s\nwant\n%s", got, want)
	}
}
