package corpus

import (
	"strings"
	"testing"
)

func TestAliasesAreWrittenAndForgotten(t *testing.T) {
	t.Parallel()
	const before = ".:53 {\n    errors\n}\n"
	with, err := withAliases(before, []Alias{{"db.example.com", "outside/echo"}, {"api.example.com.", "echo.outside.svc.cluster.local"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		".:53 {\n    rewrite stop name exact db.example.com. echo.outside.svc.cluster.local. answer auto # corpus\n",
		"\n    rewrite stop name exact api.example.com. echo.outside.svc.cluster.local. answer auto # corpus\n    errors\n",
	} {
		if !strings.Contains(with, want) {
			t.Errorf("missing %q in\n%s", want, with)
		}
	}
	if again, err := withAliases(with, nil); err != nil || again != before {
		t.Errorf("without aliases: %q, %v", again, err)
	}
	if _, err := withAliases("example.org:53 {\n}\n", nil); err == nil {
		t.Error("a Corefile without the block for all names is accepted")
	}
}

func TestCertificatesAreJudged(t *testing.T) {
	t.Parallel()
	const both = `{"certificates":[{"ca_cert":[{}],"cert_chain":[{"subject_alt_names":[{"uri":"spiffe://a/b"},{"dns":"x"}]}]}]}`
	const none = `{"certificates":[]}`
	for _, c := range []struct{ name, expect, have, fault string }{
		{"the id", "spiffeIds: [spiffe://a/b]", both, ""},
		{"another id", "spiffeIds: [spiffe://a/c]", both, "spiffe://a/b"},
		{"no id", "spiffeIds: []", none, ""},
		{"an id that should not be there", "spiffeIds: []", both, "expected []"},
		{"an authority", "authority: true", both, ""},
		{"a missing authority", "{spiffeIds: [], authority: true}", none, "trusts an authority: false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var want certificates
			var have held
			parse(t, c.expect, &want)
			parseJSON(t, c.have, &have)
			faulty(t, want.judge(have), c.fault)
		})
	}
}
