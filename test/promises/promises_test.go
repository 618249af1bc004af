package promises

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// reference is a test as the page names it: `folder TestName`.
var reference = regexp.MustCompile("`([a-z0-9/]+) (Test[A-Za-z0-9_]+)`")

// promise is a row of a table whose header is "promise | test".
type promise struct{ text, tests string }

// promises returns the rows of the page's tables of promises.
func promises(page string) (list []promise) {
	in := false
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		switch {
		case len(cells) != 2 || !strings.HasPrefix(line, "|"):
			in = false
		case strings.TrimSpace(cells[0]) == "promise":
			in = true
		case in && !strings.HasPrefix(line, "|---"):
			list = append(list, promise{strings.TrimSpace(cells[0]), cells[1]})
		}
	}
	return list
}

func TestEveryPromiseNamesATestThatExists(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	list := promises(string(page))
	if len(list) == 0 {
		t.Fatal("the page promises nothing; has the form of its tables changed?")
	}
	for _, p := range list {
		tests := reference.FindAllStringSubmatch(p.tests, -1)
		if len(tests) == 0 {
			t.Errorf("%q names no test", p.text)
		}
		for _, name := range tests {
			if !exists(t, name[1], name[2]) {
				t.Errorf("%q names %s, which is not in %s", p.text, name[2], name[1])
			}
		}
		if rest := strings.Trim(reference.ReplaceAllString(p.tests, ""), " ,"); rest != "" {
			t.Errorf("%q: %q is not a reference to a test", p.text, rest)
		}
	}
}

// exists looks for a test in the files of a folder.
func exists(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}

func TestAPageThatLiesIsFound(t *testing.T) {
	t.Parallel()
	const page = "| word | means |\n|---|---|\n| a | b |\n\n| promise | test |\n|---|---|\n| one | `pkg/xds TestX` |\n| two | nobody |\ntext\n| three | four |\n"
	list := promises(page)
	if len(list) != 2 || list[0].text != "one" || list[1].text != "two" {
		t.Fatalf("%+v", list)
	}
	if len(reference.FindAllString(list[0].tests, -1)) != 1 || len(reference.FindAllString(list[1].tests, -1)) != 0 {
		t.Error("references are not recognised")
	}
	if exists(t, "pkg/xds", "TestX") || !exists(t, "test/promises", "TestAPageThatLiesIsFound") {
		t.Error("tests are not looked up")
	}
}
