package netns

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aftermesh/aftermesh/pkg/redirect"
)

// config reads the settings as the init container would, from the variables that the injector sets and those given.
func config(t *testing.T, env map[string]string) redirect.Config {
	t.Helper()
	values := map[string]string{
		redirect.EnvEnabled: "1", redirect.EnvIgnoreUID: "1337",
		redirect.EnvInboundPort: "15000", redirect.EnvOutboundPort: "15001",
		redirect.EnvAppPorts: "8080,9111", redirect.EnvIgnoredPorts: "22,5432",
		redirect.EnvIgnoredIPs: "169.254.169.254,198.51.100.0/25,2001:db8:2::/48", redirect.EnvIPv6: "1",
	}
	for name, value := range env {
		values[name] = value
	}
	c, err := redirect.FromEnv(func(name string) string { return values[name] })
	if err != nil {
		t.Fatalf("settings: %v", err)
	}
	return c
}

// furnish puts stand-ins for proxy, application and the world into the namespaces. The outbound listener is on loopback
// only, as the proxy's is.
func furnish(l *lab) {
	l.t.Helper()
	l.serve(l.pod, "tcp", ":15000", original("in"))
	l.serve(l.pod, "tcp4", "127.0.0.1:15001", original("out"))
	l.serve(l.pod, "tcp6", "[::1]:15001", original("out"))
	for _, port := range []string{"8080", "9111", "9090"} {
		l.serve(l.pod, "tcp", ":"+port, says("app"))
	}
	for _, port := range []string{"22", "53", "80", "5432", "8080"} {
		l.serve(l.peer, "tcp", ":"+port, says("world"))
	}
}

type attempt struct {
	name     string
	fromPeer bool
	as       owner
	to       string
	want     string
}

func (a attempt) check(t *testing.T, l *lab) {
	t.Helper()
	ns := l.pod
	if a.fromPeer {
		ns = l.peer
	}
	if got := l.ask(ns, a.as, a.to); got != a.want {
		t.Errorf("%s: to %s answered %q, want %q", a.name, a.to, got, a.want)
	}
}

// bothFamilies repeats each attempt for IPv6: addresses are written as place:port.
func bothFamilies(attempts []attempt) []attempt {
	places := map[string][2]string{
		"pod": {podV4, podV6}, "peer": {peerV4, peerV6}, "lo": {"127.0.0.1", "::1"},
		"far": {"203.0.113.7", "2001:db8:1::7"}, "skipped": {"198.51.100.1", "2001:db8:2::7"},
	}
	var all []attempt
	for _, a := range attempts {
		place, port, _ := strings.Cut(a.to, ":")
		for i, family := range []string{"IPv4", "IPv6"} {
			b := a
			b.to = net.JoinHostPort(places[place][i], port)
			b.name = family + ": " + a.name
			b.want = strings.ReplaceAll(a.want, "DST", b.to)
			all = append(all, b)
		}
	}
	return all
}

// neighbours are rules of others that pods' namespaces may hold.
var neighbours = []struct {
	name string
	move func(*lab)
}{
	{"alone", func(*lab) {}},
	{"beside nftables", func(l *lab) {
		l.nftLoad(l.pod, `
table inet firewall {
	chain input {
		type filter hook input priority filter; policy accept;
		tcp dport 9 drop
	}
	chain output {
		type filter hook output priority filter; policy accept;
		tcp dport 9 reject with tcp reset
	}
}
table inet nat {
	chain prerouting {
		type nat hook prerouting priority dstnat + 5; policy accept;
		tcp dport 9191 redirect to :9090
	}
	chain output {
		type nat hook output priority 100; policy accept;
		tcp dport 9191 redirect to :9090
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		tcp dport 9192 masquerade
	}
}
`)
	}},
	{"beside iptables-nft", func(l *lab) {
		for _, program := range []string{"iptables-nft", "ip6tables-nft"} {
			for _, rule := range []string{
				"-t filter -A OUTPUT -p tcp --dport 9 -j REJECT", "-t filter -A INPUT -p tcp --dport 9 -j DROP",
				"-t mangle -A PREROUTING -p tcp --dport 8080 -j MARK --set-mark 7",
				"-t nat -A PREROUTING -p tcp --dport 9191 -j REDIRECT --to-ports 9090", "-t nat -A OUTPUT -p tcp --dport 9191 -j REDIRECT --to-ports 9090",
			} {
				l.run("ip", append([]string{"netns", "exec", l.pod, program}, strings.Fields(rule)...)...)
			}
		}
	}},
}

func TestTrafficArrivesWhereTheRulesSay(t *testing.T) {
	cases := 0
	for _, n := range neighbours {
		t.Run(n.name, func(t *testing.T) {
			l := newLab(t)
			furnish(l)
			n.move(l)
			before := l.foreign()
			c := config(t, map[string]string{redirect.EnvIgnoreGID: "2000", redirect.EnvAppPorts: "8080,9111," + forty()})
			l.apply(c)
			l.apply(c)
			for _, a := range matrix() {
				a.check(t, l)
				cases++
			}
			if n.name != "alone" {
				for _, a := range bothFamilies([]attempt{{"the neighbour's redirection still works", true, owner{}, "pod:9191", "app"}}) {
					a.check(t, l)
					cases++
				}
			}
			if diff := cmp.Diff(before, l.foreign()); diff != "" {
				t.Errorf("rules of others changed (-before +after):\n%s", diff)
			}
		})
	}
	t.Logf("%d cases of port, address and owner", cases)
}

// foreign are all rules of the pod but ours.
func (l *lab) foreign() string {
	l.t.Helper()
	all := l.nft(l.pod, "--stateless", "list", "ruleset") // without counters
	if strings.Contains(all, "table inet aftermesh {") {
		all = strings.Replace(all, l.nft(l.pod, "--stateless", "list", "table", "inet", "aftermesh"), "", 1)
	}
	return strings.TrimSpace(all)
}

// matrix is what must hold whoever the neighbours are.
func matrix() []attempt {
	proxy, group := owner{uid: 1337}, owner{gid: 2000}
	attempts := bothFamilies([]attempt{
		{"a listed inbound port goes to the proxy", true, owner{}, "pod:8080", "in DST"},
		{"a second listed inbound port goes to the proxy", true, owner{}, "pod:9111", "in DST"},
		{"the last of more than fifteen listed ports goes to the proxy", true, owner{}, "pod:8039", "in DST"},
		{"an unlisted inbound port reaches the application", true, owner{}, "pod:9090", "app"},
		{"the outbound listener cannot be reached from outside", true, owner{}, "pod:15001", "refused"},
		{"outgoing traffic goes to the proxy", false, owner{}, "far:80", "out DST"},
		{"outgoing traffic to the neighbour goes to the proxy", false, owner{}, "peer:8080", "out DST"},
		{"a port on which nobody listens still goes to the proxy", false, owner{}, "far:81", "out DST"},
		{"another user goes to the proxy", false, owner{uid: 1000}, "far:80", "out DST"},
		{"the proxy's user goes out directly", false, proxy, "far:80", "world"},
		{"the ignored group goes out directly", false, group, "far:80", "world"},
		{"an ignored port goes out directly", false, owner{}, "far:5432", "world"},
		{"port 22 always goes out directly", false, owner{}, "far:22", "world"},
		{"DNS over TCP always goes out directly", false, owner{}, "far:53", "world"},
		{"an ignored address goes out directly", false, owner{}, "skipped:80", "world"},
		{"the pod calling itself is left alone", false, owner{}, "pod:8080", "app"},
		{"loopback is left alone", false, owner{}, "lo:8080", "app"},
		{"loopback to the outbound listener is left alone", false, owner{}, "lo:15001", "out DST"},
	})
	return append(attempts,
		attempt{"IPv4: a single ignored address goes out directly", false, owner{}, "169.254.169.254:80", "world"},
		attempt{"IPv4: behind the end of an ignored network redirection starts again", false, owner{}, "198.51.100.200:80", "out 198.51.100.200:80"},
	)
}

func TestOffSwitchesLeaveTrafficAlone(t *testing.T) {
	cases := []struct {
		name     string
		env      map[string]string
		attempts []attempt
	}{
		{"without IPv6 only IPv4 is redirected", map[string]string{redirect.EnvIPv6: "0"}, []attempt{
			{"IPv4 out", false, owner{}, "203.0.113.7:80", "out 203.0.113.7:80"},
			{"IPv4 in", true, owner{}, podV4 + ":8080", "in " + podV4 + ":8080"},
			{"IPv6 out", false, owner{}, "[2001:db8:1::7]:80", "world"},
			{"IPv6 in", true, owner{}, "[" + podV6 + "]:8080", "app"},
		}},
		{"without application ports only outgoing traffic is redirected", map[string]string{redirect.EnvAppPorts: ""}, []attempt{
			{"in", true, owner{}, podV4 + ":8080", "app"},
			{"out", false, owner{}, "203.0.113.7:80", "out 203.0.113.7:80"},
		}},
		{"without ignored addresses the metadata address is redirected", map[string]string{redirect.EnvIgnoredIPs: ""}, []attempt{
			{"out", false, owner{}, "169.254.169.254:80", "out 169.254.169.254:80"},
		}},
		{"everything ignored", map[string]string{redirect.EnvIgnoredIPs: "0.0.0.0/0,::/0"}, []attempt{
			{"IPv4 out", false, owner{}, "203.0.113.7:80", "world"},
			{"IPv6 out", false, owner{}, "[2001:db8:1::7]:80", "world"},
			{"in", true, owner{}, podV4 + ":8080", "in " + podV4 + ":8080"},
		}},
		{"only a group exempt", map[string]string{redirect.EnvIgnoreUID: "", redirect.EnvIgnoreGID: "7"}, []attempt{
			{"by user", false, owner{uid: 1337}, "203.0.113.7:80", "out 203.0.113.7:80"},
			{"by group", false, owner{gid: 7}, "203.0.113.7:80", "world"},
		}},
		{"switched off", map[string]string{redirect.EnvEnabled: "0"}, []attempt{
			{"out", false, owner{}, "203.0.113.7:80", "world"},
			{"in", true, owner{}, podV4 + ":8080", "app"},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			furnish(l)
			l.apply(config(t, c.env))
			for _, a := range c.attempts {
				a.check(t, l)
			}
		})
	}
}

func TestApplyingTwiceIsApplyingOnceAndTheLastOneCounts(t *testing.T) {
	l := newLab(t)
	furnish(l)
	l.apply(config(t, nil))
	once := l.nft(l.pod, "list", "ruleset")
	l.apply(config(t, nil))
	if diff := cmp.Diff(once, l.nft(l.pod, "list", "ruleset")); diff != "" {
		t.Errorf("second application changed the rules (-once +twice):\n%s", diff)
	}
	l.apply(config(t, map[string]string{redirect.EnvAppPorts: "9090", redirect.EnvIgnoredIPs: "203.0.113.7"}))
	for _, a := range []attempt{
		{"a port no longer listed", true, owner{}, podV4 + ":8080", "app"},
		{"a newly listed port", true, owner{}, podV4 + ":9090", "in " + podV4 + ":9090"},
		{"a newly ignored address", false, owner{}, "203.0.113.7:80", "world"},
	} {
		a.check(t, l)
	}
}

func TestForeignTablesAreNotTouched(t *testing.T) {
	foreign := `
table inet mine {
	chain output {
		type filter hook output priority 0; policy accept;
		tcp dport 81 reject with tcp reset
	}
}
table ip nat {
	chain PREROUTING {
		type nat hook prerouting priority -100; policy accept;
		tcp dport 9090 redirect to :9111
	}
}
table ip6 aftermesh {
	set app_ports {
		type inet_service
		elements = { 1 }
	}
}
`
	l := newLab(t)
	furnish(l)
	l.nftLoad(l.pod, foreign)
	before := l.nft(l.pod, "list", "ruleset")
	l.apply(config(t, nil))
	l.apply(config(t, nil))
	after := l.nft(l.pod, "list", "ruleset")
	own := l.nft(l.pod, "list", "table", "inet", "aftermesh")
	if diff := cmp.Diff(strings.TrimSpace(before), strings.TrimSpace(strings.Replace(after, own, "", 1))); diff != "" {
		t.Errorf("foreign rules changed (-before +after):\n%s", diff)
	}
	for _, a := range []attempt{
		{"the foreign redirection still works", true, owner{}, podV4 + ":9090", "app"},
		{"ours works beside it", true, owner{}, podV4 + ":8080", "in " + podV4 + ":8080"},
	} {
		a.check(t, l)
	}
}

// The printed rules are the applied rules: the kernel shows the same table whichever way it was loaded.
func TestPrintedRulesAreTheAppliedRules(t *testing.T) {
	l := newLab(t)
	cases := map[string]map[string]string{
		"everything":         {redirect.EnvIgnoreGID: "7"},
		"no inbound ports":   {redirect.EnvAppPorts: ""},
		"IPv4 only":          {redirect.EnvIPv6: "0"},
		"no ignored address": {redirect.EnvIgnoredIPs: ""},
		"overlapping and adjoining networks": {redirect.EnvIgnoredIPs: "10.0.0.0/8,10.1.0.0/16,11.0.0.0/8,0.0.0.0/32," +
			"255.255.255.255,192.0.2.1,192.0.2.2,192.0.2.3,::/0,fd00::/8"},
		"forty ports": {redirect.EnvAppPorts: forty()},
	}
	for name, env := range cases {
		c := config(t, env)
		l.nftLoad(l.peer, "add table inet aftermesh\ndelete table inet aftermesh\n"+c.Rules())
		l.apply(c)
		want := l.nft(l.peer, "list", "table", "inet", "aftermesh")
		if diff := cmp.Diff(want, l.nft(l.pod, "list", "table", "inet", "aftermesh")); diff != "" {
			t.Errorf("%s: printed and applied rules differ (-printed +applied):\n%s", name, diff)
		}
	}
}

func forty() string {
	var ports []string
	for port := 8000; port < 8040; port++ {
		ports = append(ports, fmt.Sprint(port))
	}
	return strings.Join(ports, ",")
}
