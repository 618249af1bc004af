package injection

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/aftermesh/aftermesh/pkg/cli"
)

func TestEveryKeyHasACaseAndEveryCaseAKey(t *testing.T) {
	t.Parallel()
	all := slices.Concat(Keys, Flags, Parts)
	covered := map[string]bool{}
	names := map[string]bool{}
	for _, c := range Cases() {
		covered[c.Key] = true
		if !slices.Contains(all, c.Key) {
			t.Errorf("%s is in none of the lists", c.Key)
		}
		if c.want == nil && c.denied == "" && c.refused == "" && c.warned == "" {
			t.Errorf("%s expects nothing", c.Name())
		}
		if names[c.Name()] {
			t.Errorf("two cases are called %s", c.Name())
		}
		names[c.Name()] = true
	}
	for _, key := range all {
		if !covered[key] {
			t.Errorf("%s has no case", key)
		}
	}
}

// TestEveryFlagShapesPodsOrNot compares the lists with the operator's own flags, so that a new flag needs a decision and a case.
func TestEveryFlagShapesPodsOrNot(t *testing.T) {
	t.Parallel()
	listed := slices.Concat(Flags, processFlags)
	slices.Sort(listed)
	if twice := len(listed) - len(slices.Compact(slices.Clone(listed))); twice > 0 {
		t.Errorf("%d flags are listed twice", twice)
	}
	var declared []string
	cli.OperatorFlags().VisitAll(func(f *pflag.Flag) {
		declared = append(declared, "--"+f.Name)
		if !slices.Contains(listed, "--"+f.Name) {
			t.Errorf("--%s is in no list: if it shapes pods it needs a case", f.Name)
		}
	})
	for _, name := range listed {
		if !slices.Contains(declared, name) {
			t.Errorf("the operator has no flag %s", name)
		}
	}
}

// TestEveryFlagHasACaseThatSetsIt keeps cases from being about a flag that is not there.
func TestEveryFlagHasACaseThatSetsIt(t *testing.T) {
	t.Parallel()
	for _, name := range Flags {
		if !slices.ContainsFunc(Cases(), func(c Case) bool {
			return c.Key == name && slices.ContainsFunc(c.Flags, func(flag string) bool { return sets(flag, name) })
		}) {
			t.Errorf("no case about %s sets it", name)
		}
	}
}

func TestTheOperatorStartsWithEverySetOfFlags(t *testing.T) {
	t.Parallel()
	for _, g := range Groups(Cases()) {
		c, err := cli.InjectConfig(g.Flags)
		if err != nil {
			t.Errorf("%v: %v", g.Flags, err)
		}
		// What the operator learns from its cluster.
		c.InitImage, c.ControlPlane.CA = "image", "root"
		if err := c.Validate(); err != nil {
			t.Errorf("%v: %v", g.Flags, err)
		}
	}
}

func TestObjectsAreRecognisedByTheirNames(t *testing.T) {
	t.Parallel()
	objects, err := Objects()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		name := o.GetName()
		if o.GetNamespace() != "" {
			name = o.GetNamespace()
		}
		if !strings.HasPrefix(name, "injection") {
			t.Errorf("%s %s could be somebody else's", o.GetKind(), name)
		}
	}
}

// written finds the names of annotations and labels in source.
var written = regexp.MustCompile(`"((?:(?:appmesh\.k8s\.aws|aftermesh\.dev|prometheus\.io|eks\.amazonaws\.com)/|rollouts-)[A-Za-z-]+)"`)

// TestTheListOfKeysIsWhole compares it with what the injector's source names.
func TestTheListOfKeysIsWhole(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../pkg/inject/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source: %v", err)
	}
	for _, file := range append(files, "../../api/v1beta2/annotations.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range written.FindAllStringSubmatch(string(source), -1) {
			if !slices.Contains(Keys, match[1]) {
				t.Errorf("%s names %s, which has no case", file, match[1])
			}
		}
	}
}

// TestEveryKeyIsDocumented looks for each key and flag on the page about injection, where a key may stand without its prefix.
func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../docs/injection.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	for _, key := range slices.Concat(Keys, Flags) {
		_, name, _ := strings.Cut(key, "/")
		if !strings.Contains(page, "`"+name+"`") && !strings.Contains(page, "`"+key+"`") && !strings.Contains(page, "`"+key+":") {
			t.Errorf("docs/injection.md does not name %s", key)
		}
	}
}

func TestGroupsBeginWithTheCasesWithoutFlags(t *testing.T) {
	t.Parallel()
	a, b := []string{"--a"}, []string{"--b"}
	groups := Groups([]Case{{Key: "1", Flags: a}, {Key: "2"}, {Key: "3", Flags: b}, {Key: "4", Flags: a}, {Key: "5"}})
	var got []string
	for _, g := range groups {
		line := strings.Join(g.Flags, " ") + ":"
		for _, c := range g.Cases {
			line += c.Key
		}
		got = append(got, line)
	}
	if want := []string{":25", "--a:14", "--b:3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	// Each group but the first costs a restart of the operator.
	if n := len(Groups(Cases())); n > 8 {
		t.Errorf("%d groups of flags", n)
	}
}

func TestAKeyWithoutACaseOrWithAFailureIsNotGood(t *testing.T) {
	t.Parallel()
	var results []Result
	for _, c := range Cases() {
		results = append(results, Result{Case: c})
	}
	whole := Summarize(results)
	if !whole.Good() {
		t.Errorf("all succeeded, but: %s", whole)
	}
	results[0].Differences = []string{"x"}
	if s := Summarize(results); s.Good() || !strings.HasSuffix(s.String(), " cases, 1 failed") {
		t.Errorf("one failed, but: %s", s)
	}
	some := slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Case.Key == Flags[0] || len(r.Differences) > 0 })
	if s := Summarize(some); s.Good() {
		t.Errorf("one has no case, but: %s", s)
	}
}
