package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func archive(t *testing.T, i Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := i.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// entries reads a tar into name → content; order lists the names as they came.
func entries(t *testing.T, data []byte) (files map[string]string, headers map[string]*tar.Header, order []string) {
	t.Helper()
	files, headers = map[string]string{}, map[string]*tar.Header{}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, headers, order
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name], headers[h.Name] = string(content), h
		order = append(order, h.Name)
	}
}

func TestArchiveRoundTrip(t *testing.T) {
	host := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(host, []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	i := Image{
		Names:      []string{"a/b:1", "c:2"},
		Files:      []File{{Path: "/usr/bin/p", Host: host}, {Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777}, {Path: "/etc/x", Data: []byte("x"), UID: 7}},
		Entrypoint: []string{"/usr/bin/p"}, User: "65532",
	}
	outer, _, _ := entries(t, archive(t, i))
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal([]byte(outer["manifest.json"]), &manifest); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(manifest[0].RepoTags, i.Names) {
		t.Errorf("names %v", manifest[0].RepoTags)
	}
	var config struct {
		Config struct {
			Entrypoint []string
			User       string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal([]byte(outer[manifest[0].Config]), &config); err != nil {
		t.Fatal(err)
	}
	layer := outer[manifest[0].Layers[0]]
	if want := "sha256:" + hash([]byte(layer)); config.RootFS.DiffIDs[0] != want {
		t.Errorf("diff id %s, layer hashes to %s", config.RootFS.DiffIDs[0], want)
	}
	if config.Config.User != "65532" || config.Config.Entrypoint[0] != "/usr/bin/p" {
		t.Errorf("configuration %+v", config.Config)
	}
	files, headers, order := entries(t, []byte(layer))
	if want := []string{"etc/", "etc/x", "tmp/", "usr/", "usr/bin/", "usr/bin/p"}; !slices.Equal(order, want) {
		t.Errorf("entries %v, want %v", order, want)
	}
	if files["usr/bin/p"] != "binary" || headers["usr/bin/p"].Mode != 0o755 || headers["tmp/"].Mode != 0o1777 || headers["etc/x"].Uid != 7 {
		t.Errorf("layer %v", files)
	}
}

func TestSameContentIsTheSameImage(t *testing.T) {
	one := Image{Names: []string{"a:1"}, Files: []File{{Path: "/x", Data: []byte("x")}, {Path: "/y", Data: []byte("y")}}}
	two := Image{Names: []string{"b:2"}, Files: []File{{Path: "/y", Data: []byte("y")}, {Path: "/x", Data: []byte("x")}}}
	three := Image{Names: []string{"a:1"}, Files: []File{{Path: "/x", Data: []byte("z")}, {Path: "/y", Data: []byte("y")}}}
	id := func(i Image) string {
		id, err := i.ID()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if id(one) != id(two) {
		t.Error("order of files or another name changes the ID")
	}
	if id(one) == id(three) {
		t.Error("other content, same ID")
	}
	if !bytes.Equal(archive(t, one), archive(t, one)) {
		t.Error("archive differs between two writes")
	}
}

func TestDynamicProgramBringsItsLibraries(t *testing.T) {
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skip("no shell on this machine")
	}
	files, err := sharedLibraries(shell)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(files, func(f File) bool { return filepath.Base(f.Path) == "libc.so.6" }) {
		t.Skipf("shell does not use the GNU C library: %v", files)
	}
}
