package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestStampBuildsOnlyWhatChanged(t *testing.T) {
	dir := t.TempDir()
	input, product := filepath.Join(dir, "input"), filepath.Join(dir, "out", "product")
	builds := 0
	build := func(word string, result error) error {
		s, err := newStamp(product, []string{word}, input)
		if err != nil {
			t.Fatal(err)
		}
		return s.build(func(path string) error {
			builds++
			return errors.Join(os.WriteFile(path, []byte(word), 0o644), result)
		})
	}
	write := func(text string) {
		if err := os.WriteFile(input, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		name   string
		do     func() error
		builds int
	}{
		{"first build", func() error { write("a"); return build("v1", nil) }, 1},
		{"nothing changed", func() error { return build("v1", nil) }, 1},
		{"a file changed", func() error { write("b"); return build("v1", nil) }, 2},
		{"a word changed", func() error { return build("v2", nil) }, 3},
		{"a failed build leaves the old product and is tried again", func() error {
			write("c")
			if build("v3", errors.New("broken")) == nil {
				t.Error("error of the build lost")
			}
			if old, _ := os.ReadFile(product); string(old) != "v2" {
				t.Errorf("product is %q after a failed build", old)
			}
			return build("v3", nil)
		}, 5},
		{"the product vanished", func() error { return errors.Join(os.Remove(product), build("v3", nil)) }, 6},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if builds != step.builds {
			t.Fatalf("%s: %d builds, want %d", step.name, builds, step.builds)
		}
	}
}
