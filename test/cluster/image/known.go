package image

import (
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// nonroot is the user of the usual distroless images.
const nonroot = "65532"

// Static describes an image of one static program at the given path inside, run as nobody in particular (65532).
func Static(host, path string, names ...string) Image {
	return Image{
		Names:      names,
		Files:      append(base(), File{Path: path, Host: host, Mode: 0o755}),
		Entrypoint: []string{path},
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		User:       nonroot,
		WorkingDir: "/",
	}
}

// Envoy describes an image of a stock Envoy binary as the upstream distroless image
// is: /usr/local/bin/envoy and the C library it needs, taken from this machine.
func Envoy(binary string, names ...string) (Image, error) {
	libraries, err := sharedLibraries(binary)
	if err != nil {
		return Image{}, err
	}
	i := Static(binary, "/usr/local/bin/envoy", names...)
	i.Command = []string{"-c", "/etc/envoy/envoy.yaml"}
	i.Files = append(i.Files, libraries...)
	return i, nil
}

// base is what a distroless image has besides its program.
func base() []File {
	files := []File{
		{Path: "/etc/passwd", Data: []byte("root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")},
		{Path: "/etc/group", Data: []byte("root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n")},
		{Path: "/etc/nsswitch.conf", Data: []byte("hosts: files dns\n")},
		{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Path: "/home/nonroot", Mode: fs.ModeDir | 0o700, UID: 65532, GID: 65532},
	}
	const roots = "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(roots); err == nil {
		files = append(files, File{Path: roots, Host: roots, Mode: 0o644})
	}
	return files
}

// sharedLibraries returns the loader and all libraries a dynamic program needs, at the paths they have here.
func sharedLibraries(program string) ([]File, error) {
	found := map[string]bool{}
	var files []File
	add := func(path string) {
		found[filepath.Base(path)] = true
		files = append(files, File{Path: path, Host: path, Mode: 0o755})
	}
	queue := []string{program}
	for len(queue) > 0 {
		needed, loader, err := dependencies(queue[0])
		if err != nil {
			return nil, err
		}
		queue = queue[1:]
		if loader != "" && !found[filepath.Base(loader)] {
			add(loader)
		}
		for _, name := range needed {
			if found[name] {
				continue
			}
			path, err := findLibrary(name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", program, err)
			}
			add(path)
			queue = append(queue, path)
		}
	}
	return files, nil
}

// dependencies reads the needed libraries and the loader out of an ELF file.
func dependencies(path string) (needed []string, loader string, err error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			data := make([]byte, p.Filesz)
			if _, err := p.ReadAt(data, 0); err != nil {
				return nil, "", err
			}
			loader = strings.TrimRight(string(data), "\x00")
		}
	}
	needed, err = f.ImportedLibraries()
	return needed, loader, err
}

func findLibrary(name string) (string, error) {
	for _, pattern := range []string{"/lib/*-linux-gnu", "/lib64", "/usr/lib/*-linux-gnu", "/usr/lib64", "/lib", "/usr/lib"} {
		if matches, _ := filepath.Glob(filepath.Join(pattern, name)); len(matches) > 0 {
			return matches[0], nil
		}
	}
	return "", fmt.Errorf("library %s not found on this machine", name)
}
