package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"sort"
	"strings"
)

// File is one entry of the layer.
type File struct {
	// Path is the absolute path inside the image. Parent folders are made (0755) when not listed.
	Path string
	// Host is the file on this machine to copy; "" takes Data.
	Host string
	// Data is the content when Host is "".
	Data []byte
	// Mode holds permission bits, and fs.ModeDir for a folder. Zero: the host file's, or 0644.
	Mode fs.FileMode
	// UID and GID own the entry.
	UID, GID int
}

// Image describes what to build.
type Image struct {
	// Names are the references the image gets, at least one.
	Names []string
	// Files are the content, in any order.
	Files []File
	// Entrypoint, Command, Env, User and WorkingDir are as in a Dockerfile.
	Entrypoint, Command, Env []string
	User, WorkingDir         string
}

// ID returns the image's ID: the hash of its configuration, which names the hash of its content.
func (i Image) ID() (string, error) {
	config, _, err := i.config()
	if err != nil {
		return "", err
	}
	return hash(config), nil
}

// Write writes the image as a docker archive.
func (i Image) Write(w io.Writer) error {
	if len(i.Names) == 0 {
		return fmt.Errorf("image without a name")
	}
	config, layer, err := i.config()
	if err != nil {
		return err
	}
	configName, layerName := hash(config)+".json", layer.hash+".tar"
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": i.Names, "Layers": []string{layerName}}})
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	if err := writeEntry(t, "manifest.json", manifest); err != nil {
		return err
	}
	if err := writeEntry(t, configName, config); err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Name: layerName, Mode: 0o644, Size: layer.size, Format: tar.FormatPAX}); err != nil {
		return err
	}
	if err := i.writeLayer(t); err != nil {
		return err
	}
	return t.Close()
}

// measured is what must be known of the layer before it is written.
type measured struct {
	hash string
	size int64
}

type meter struct {
	io.Writer
	size int64
}

func (m *meter) Write(b []byte) (int, error) {
	m.size += int64(len(b))
	return m.Writer.Write(b)
}

// config renders the OCI configuration, for which it hashes the layer.
func (i Image) config() ([]byte, measured, error) {
	sum := sha256.New()
	m := &meter{Writer: sum}
	if err := i.writeLayer(m); err != nil {
		return nil, measured{}, err
	}
	layer := measured{hash: hex.EncodeToString(sum.Sum(nil)), size: m.size}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      "1970-01-01T00:00:00Z",
		"config": map[string]any{
			"Entrypoint": i.Entrypoint, "Cmd": i.Command, "Env": i.Env, "User": i.User, "WorkingDir": i.WorkingDir,
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layer.hash}},
	})
	return config, layer, err
}

// writeLayer writes the layer's tar.
func (i Image) writeLayer(w io.Writer) error {
	t := tar.NewWriter(w)
	for _, f := range withParents(i.Files) {
		if err := f.write(t); err != nil {
			return err
		}
	}
	return t.Close()
}

// withParents adds missing parent folders and sorts by path, so that a folder comes before what it holds.
func withParents(files []File) []File {
	have := map[string]File{}
	for _, f := range files {
		f.Path = path.Clean("/" + f.Path)
		have[f.Path] = f
	}
	for p := range have {
		for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
			if _, ok := have[dir]; !ok {
				have[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
			}
		}
	}
	all := make([]File, 0, len(have))
	for _, f := range have {
		all = append(all, f)
	}
	sort.Slice(all, func(a, b int) bool { return all[a].Path < all[b].Path })
	return all
}

func (f File) write(t *tar.Writer) error {
	header := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), Uid: f.UID, Gid: f.GID, Format: tar.FormatPAX}
	if f.Mode.IsDir() {
		header.Typeflag, header.Name, header.Mode = tar.TypeDir, header.Name+"/", unixMode(f.Mode)
		return t.WriteHeader(header)
	}
	if f.Host == "" {
		header.Mode, header.Size = unixMode(or(f.Mode, 0o644)), int64(len(f.Data))
		if err := t.WriteHeader(header); err != nil {
			return err
		}
		_, err := t.Write(f.Data)
		return err
	}
	in, err := os.Open(f.Host)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	header.Mode, header.Size = unixMode(or(f.Mode, info.Mode().Perm())), info.Size()
	if err := t.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(t, in)
	return err
}

func or(mode, fallback fs.FileMode) fs.FileMode {
	if mode == 0 {
		return fallback
	}
	return mode
}

// unixMode turns Go's sticky bit (of /tmp) into the tar header's.
func unixMode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

func writeEntry(t *tar.Writer, name string, data []byte) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := t.Write(data)
	return err
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
