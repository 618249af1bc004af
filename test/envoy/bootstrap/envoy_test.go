package bootstrap

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aftermesh/aftermesh/pkg/inject/bootstrap"
)

// Versions of Envoy that the project supports: the one it installs and the oldest.
const newest, oldest = "1.40.0", "1.37.0"

// binary finds Envoy of a version: the variable's value if set, else the cached one. The test is skipped when an oldest
// Envoy is not installed, and fails when the newest is not.
func binary(t *testing.T, version string) string {
	t.Helper()
	variable := map[string]string{newest: "ENVOY", oldest: "ENVOY_OLDEST"}[version]
	if path := os.Getenv(variable); path != "" {
		return path
	}
	path := filepath.Join(root(t), ".cache", "envoy", version, "envoy")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if version == oldest {
		t.Skipf("Envoy %s is not installed (variable %s)", version, variable)
	}
	t.Fatalf("Envoy %s is not installed: set %s or install it to %s", version, variable, path)
	return ""
}

// root is the folder of go.mod above the test.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

// argument is the bootstrap as Envoy gets it: rendered as a container's argument and expanded as Kubernetes does.
func argument(t *testing.T, s bootstrap.Settings) string {
	t.Helper()
	return argumentIn(t, s, "", "")
}

// argumentIn is the same in a pod with labels for region and zone; without them the variables are empty.
func argumentIn(t *testing.T, s bootstrap.Settings, region, zone string) string {
	t.Helper()
	b, err := bootstrap.New(s)
	if err != nil {
		t.Fatalf("bootstrap: %v", err)
	}
	text, err := bootstrap.Argument(b)
	if err != nil {
		t.Fatalf("bootstrap: %v", err)
	}
	return expand(text, map[string]string{
		"AFTERMESH_POD_NAME": "front-0", "AFTERMESH_POD_NAMESPACE": "demo", "AFTERMESH_POD_UID": "0d1e",
		"AFTERMESH_POD_IPS": "10.0.1.7,fd00::7", "AFTERMESH_NODE_NAME": "n1", "AFTERMESH_HOST_IP": "127.0.0.1",
		"AFTERMESH_REGION": region, "AFTERMESH_ZONE": zone,
	})
}

// expand does what kubelet does with a container's arguments: $$ is a dollar sign, $(NAME) a variable if there is one.
func expand(text string, variables map[string]string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch rest := text[i:]; {
		case strings.HasPrefix(rest, "$$"):
			out.WriteByte('$')
			i++
		case strings.HasPrefix(rest, "$("):
			name, _, _ := strings.Cut(rest[2:], ")")
			if value, ok := variables[name]; ok {
				out.WriteString(value)
				i += len(name) + 2
				continue
			}
			out.WriteByte('$')
		default:
			out.WriteByte(text[i])
		}
	}
	return out.String()
}

// proxy is a running Envoy.
type proxy struct {
	t     *testing.T
	admin *http.Client
	log   *buffer
}

// buffer collects output from several goroutines.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// start runs Envoy with the injector's own arguments until the test ends.
func start(t *testing.T, path string, s bootstrap.Settings) *proxy {
	t.Helper()
	return startWith(t, s.Admin.Pipe, path, "--config-yaml", argument(t, s), "--log-level", "info", "--concurrency", "1",
		"--drain-strategy", "immediate", "--drain-time-s", "600", "--disable-hot-restart", "--skip-deprecated-logs")
}

// startWith runs Envoy, whose admin pipe is given, with a command line.
func startWith(t *testing.T, pipe, path string, args ...string) *proxy {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	p := &proxy{t: t, log: &buffer{}}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log of Envoy:\n%s", p.log)
		}
	})
	p.admin = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", pipe)
		},
	}}
	return p
}

// state is what the admin pipe answers to /ready: LIVE, PRE_INITIALIZING, or the error.
func (p *proxy) state() string {
	response, err := p.admin.Get("http://admin/ready")
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return strings.TrimSpace(string(body))
}

// eventually asks until the answer is what is wanted; it fails the test after the limit. It returns how long that took.
func eventually(t *testing.T, limit time.Duration, what, want string, ask func() string) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		got := ask()
		if got == want {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			t.Fatalf("%s: still %q after %s, want %q", what, got, limit, want)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freePort is a TCP port that was free a moment ago.
func freePort(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return uint16(listener.Addr().(*net.TCPAddr).Port)
}

// credentialFolder is a folder as kubelet makes for a projected volume: names are links through ..data, which is swapped.
type credentialFolder struct {
	t    *testing.T
	path string
	next int
}

func newCredentialFolder(t *testing.T) *credentialFolder {
	t.Helper()
	return &credentialFolder{t: t, path: t.TempDir()}
}

func (f *credentialFolder) file(name string) string { return filepath.Join(f.path, name) }

// write replaces all files in one step, as kubelet does when a token is rotated.
func (f *credentialFolder) write(files map[string]string) {
	f.t.Helper()
	must := func(err error) {
		if err != nil {
			f.t.Helper()
			f.t.Fatal(err)
		}
	}
	f.next++
	data := fmt.Sprintf("..2026_%d", f.next)
	must(os.Mkdir(f.file(data), 0o755))
	for name, content := range files {
		must(os.WriteFile(filepath.Join(f.path, data, name), []byte(content), 0o644))
	}
	must(os.Symlink(data, f.file("..data_tmp")))
	must(os.Rename(f.file("..data_tmp"), f.file("..data")))
	for name := range files {
		f.link(name)
	}
	if f.next > 1 {
		must(os.RemoveAll(f.file(fmt.Sprintf("..2026_%d", f.next-1))))
	}
}

// link makes the name of a file that lies, or will lie, in the folder's data.
func (f *credentialFolder) link(name string) {
	f.t.Helper()
	if err := os.Symlink(filepath.Join("..data", name), f.file(name)); err != nil && !os.IsExist(err) {
		f.t.Fatal(err)
	}
}

// token writes the SDS file and a token.
func (f *credentialFolder) token(value string) {
	f.t.Helper()
	f.write(map[string]string{"credential.json": bootstrap.CredentialSDS(f.file("token")), "token": value})
}
