package standalone

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/identity"
	"github.com/aftermesh/aftermesh/test/cluster"
)

// page is docs/standalone.md: its files by their first line, and its commands in order. Ports are free ones of this machine.
type page struct {
	files    map[string]string
	commands []string
}

func readPage(t *testing.T, application string) page {
	t.Helper()
	b, err := os.ReadFile("../../../docs/standalone.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for old, free := range map[string]string{"15010": port(t), "15011": port(t), "8088": port(t), "9000": application} {
		if !strings.Contains(text, old) {
			t.Fatalf("the page has no port %s", old)
		}
		text = strings.ReplaceAll(text, old, free)
	}
	p := page{files: map[string]string{}}
	for i, block := range strings.Split(text, "```") {
		language, content, _ := strings.Cut(block, "\n")
		switch {
		case i%2 == 0:
		case language == "yaml":
			name, _, _ := strings.Cut(strings.TrimPrefix(content, "# "), "\n")
			p.files[name] = content
		case language == "sh":
			p.commands = append(p.commands, strings.TrimSpace(content))
		default:
			t.Fatalf("a block is neither yaml nor sh: %s", block)
		}
	}
	return p
}

// command returns the only command of the page that starts with a text.
func (p page) command(t *testing.T, start string) string {
	t.Helper()
	for _, c := range p.commands {
		if strings.HasPrefix(c, start) {
			return c
		}
	}
	t.Fatalf("the page has no command %q", start)
	return ""
}

func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, number, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// TestThePageIsTrue runs what docs/standalone.md says, on ports that are free here.
func TestThePageIsTrue(t *testing.T) {
	t.Parallel()
	layout, err := cluster.Find()
	if err != nil {
		t.Fatal(err)
	}
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the application") })}
	go func() { _ = server.Serve(app) }()
	t.Cleanup(func() { _ = server.Close() })
	_, number, err := net.SplitHostPort(app.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := readPage(t, number)
	dir := t.TempDir()
	for name, text := range p.files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), text)
	}
	build(t, filepath.Join(dir, "bin", "aftermesh"))
	if err := os.Symlink(layout.Envoy(cluster.DefaultEnvoy), filepath.Join(dir, "bin", "envoy")); err != nil {
		t.Fatal(err)
	}
	credentials(t, dir)
	run := func(command string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "exec "+command)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
		return cmd
	}
	curl := p.command(t, "curl")
	answers := func() bool {
		out, err := run(curl).Output()
		return err == nil && string(out) == "the application"
	}

	background(t, run(p.command(t, "aftermesh standalone manifests/ --listen 127")), &log{})
	envoy := background(t, run(p.command(t, "envoy -c envoy.yaml")), &log{})
	eventually(t, "the gateway answers", answers)
	out, err := run(p.command(t, "aftermesh translate")).CombinedOutput()
	if !strings.Contains(string(out), "lds_ingress") || !strings.Contains(string(out), "127.0.0.1") || err == nil {
		t.Errorf("translate: %v\n%s", err, out)
	}
	envoy()

	background(t, run(p.command(t, "aftermesh standalone manifests/ --listen :")), &log{})
	background(t, run(strings.Replace(p.command(t, "envoy"), "envoy.yaml", "envoy-token.yaml", 1)), &log{})
	eventually(t, "the gateway with a token answers", answers)
}

// credentials writes what the second part of the page takes for granted.
func credentials(t *testing.T, dir string) {
	t.Helper()
	authority, err := identity.NewAuthority("test", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, err := identity.NewIssuer(authority, identity.Names{DNS: []string{"localhost"}}, time.Hour, time.Now).Certificate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tls.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})))
	write(t, filepath.Join(dir, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	write(t, filepath.Join(dir, "ca.crt"), string(authority.PEM()))
	write(t, filepath.Join(dir, "tokens.txt"), "the-token mesh/demo/virtualGateway/entrance_default\n")
}

// build makes the product's binary.
func build(t *testing.T, binary string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// background starts a program and returns what ends it.
func background(t *testing.T, cmd *exec.Cmd, out *log) (end context.CancelFunc) {
	t.Helper()
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = func() {
		_ = cmd.Process.Kill() // it may be gone already
		_ = cmd.Wait()
	}
	t.Cleanup(func() {
		end()
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Args, out)
		}
	})
	return end
}
