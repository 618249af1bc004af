package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/aftermesh/aftermesh/test/cluster/image"
)

// EnvoyImage is the name pods give the stock sidecar image of a version.
func EnvoyImage(version string) string { return "envoyproxy/envoy:distroless-v" + version }

// Load imports an image into the running cluster unless the very same one is there
// under all its names. It says whether it imported.
func (l Layout) Load(i image.Image) (bool, error) {
	id, err := i.ID()
	if err != nil {
		return false, err
	}
	var missing []string
	for _, name := range i.Names {
		if have, err := os.ReadFile(l.imageRecord(name)); err != nil || string(have) != id {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return false, nil
	}
	i.Names = missing
	if err := importArchive(i.Write); err != nil {
		return false, fmt.Errorf("image %s: %w", missing[0], err)
	}
	for _, name := range missing {
		file := l.imageRecord(name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return true, err
		}
		if err := os.WriteFile(file, []byte(id), 0o644); err != nil {
			return true, err
		}
	}
	return true, nil
}

// LoadArchive imports a docker or OCI archive made elsewhere.
func (l Layout) LoadArchive(file string) error {
	return importArchive(func(w io.Writer) error {
		in, err := os.Open(file)
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.Copy(w, in)
		return err
	})
}

// LoadEnvoy fetches a stock Envoy version if need be and imports it under its usual name.
func (l Layout) LoadEnvoy(p *Progress, version string, names ...string) error {
	if err := l.FetchEnvoy(p, version); err != nil {
		return err
	}
	i, err := image.Envoy(l.Envoy(version), append([]string{EnvoyImage(version)}, names...)...)
	if err != nil {
		return err
	}
	_, err = l.Load(i)
	return err
}

// imageRecord is the file that tells which image a name stands for in this cluster.
func (l Layout) imageRecord(name string) string {
	return l.state("images", strings.NewReplacer("/", "_", ":", "_").Replace(name))
}

// importArchive streams an archive into containerd.
func importArchive(write func(io.Writer) error) error {
	cmd := exec.Command("ctr", "--address", socket(), "--namespace", "k8s.io", "images", "import", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out := &lineCounter{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	writeErr := errors.Join(write(in), in.Close())
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("ctr images import: %w\n%s", err, lastLines(out.text.Bytes(), 5))
	}
	return writeErr
}
