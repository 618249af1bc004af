package cluster

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// issuer is the service-account issuer: what a kubeadm cluster says.
const issuer = "https://kubernetes.default.svc.cluster.local"

// plane is one etcd and one kube-apiserver: all of a bare API server, the heart of a cluster.
type plane struct {
	dir     string // keys, data, logs
	records string // folder of pid records
	kube    string // the multi-call binary
	bound   bool   // die with this program

	advertise string // address told to clients inside; "" for loopback only
	services  string // service CIDRs, comma separated
	hosts     []string
	flags     []string // more kube-apiserver flags

	ca    *authority
	port  int
	procs []*process
}

func (p *plane) logs() string { return filepath.Join(p.dir, "logs") }
func (p *plane) url() string  { return "https://127.0.0.1:" + strconv.Itoa(p.port) }

// start makes keys and the administrator's kubeconfig (dir/kubeconfig), starts both
// programs and returns when the API server says it is ready.
func (p *plane) start(ctx context.Context) error {
	var err error
	if p.ca, err = newAuthority(p.dir); err != nil {
		return err
	}
	if p.port, err = FreePort(); err != nil {
		return err
	}
	if err := p.issueKeys(); err != nil {
		return err
	}
	etcd, err := p.startEtcd()
	if err != nil {
		return err
	}
	argv := append([]string{p.kube, "kube-apiserver"}, p.apiserverFlags(etcd)...)
	if err := p.run("kube-apiserver", argv); err != nil {
		return err
	}
	return await(ctx, time.Minute, "kube-apiserver", p.logs(), p.procs, func() error { return p.get("/readyz") })
}

func (p *plane) issueKeys() error {
	hosts := append([]string{"kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", "::1"}, p.hosts...)
	if err := p.ca.issue("apiserver", pkix.Name{CommonName: "kube-apiserver"}, hosts...); err != nil {
		return err
	}
	admin := pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}
	if err := p.ca.issue("admin", admin); err != nil {
		return err
	}
	return p.ca.kubeconfig(filepath.Join(p.dir, "kubeconfig"), "admin", p.url())
}

// startEtcd starts etcd on loopback, without fsync (the data is worthless), and returns its URL.
func (p *plane) startEtcd() (string, error) {
	client, err := FreePort()
	if err != nil {
		return "", err
	}
	peer, err := FreePort()
	if err != nil {
		return "", err
	}
	clientURL := "http://127.0.0.1:" + strconv.Itoa(client)
	peerURL := "http://127.0.0.1:" + strconv.Itoa(peer)
	return clientURL, p.run("etcd", []string{p.kube, "etcd", "--name=default",
		"--data-dir=" + filepath.Join(p.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=" + clientURL, "--advertise-client-urls=" + clientURL,
		"--listen-peer-urls=" + peerURL, "--initial-advertise-peer-urls=" + peerURL,
		"--initial-cluster=default=" + peerURL, "--quota-backend-bytes=4294967296"})
}

func (p *plane) apiserverFlags(etcd string) []string {
	flags := []string{
		"--etcd-servers=" + etcd,
		"--secure-port=" + strconv.Itoa(p.port),
		"--cert-dir=" + p.ca.dir,
		"--tls-cert-file=" + p.ca.path("apiserver.crt"),
		"--tls-private-key-file=" + p.ca.path("apiserver.key"),
		"--client-ca-file=" + p.ca.path("ca.crt"),
		"--service-account-issuer=" + issuer,
		"--service-account-signing-key-file=" + p.ca.path("sa.key"),
		"--service-account-key-file=" + p.ca.path("sa.pub"),
		"--service-cluster-ip-range=" + p.services,
		"--allow-privileged=true",
		"--profiling=false",
		"--max-requests-inflight=2000",
		"--max-mutating-requests-inflight=1000",
	}
	if p.advertise == "" {
		flags = append(flags, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none")
	} else {
		flags = append(flags, "--advertise-address="+p.advertise)
	}
	return append(flags, p.flags...)
}

// run starts one program of the plane.
func (p *plane) run(name string, argv []string) error {
	s := spawn{name: name, argv: argv, logFile: filepath.Join(p.logs(), name+".log"), records: p.records, bound: p.bound}
	proc, err := s.start()
	if err == nil {
		p.procs = append(p.procs, proc)
	}
	return err
}

// get asks the API server for a path as administrator and fails unless it answers 200.
func (p *plane) get(path string) error {
	_, err := adminGet(p.dir, p.url()+path)
	return err
}

func adminGet(dir, url string) (string, error) {
	client, err := adminClient(dir)
	if err != nil {
		return "", err
	}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %.200s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}

// FreePort finds a port that nobody holds, neither by TCP nor by UDP, outside the kernel's range for
// outgoing connections, so that none grabs it before the server listens.
func FreePort() (int, error) {
	for range 100 {
		address := ":" + strconv.Itoa(20000+rand.IntN(10000))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		u, err := net.ListenPacket("udp", address)
		if err != nil {
			_ = l.Close()
			continue
		}
		return l.Addr().(*net.TCPAddr).Port, errors.Join(l.Close(), u.Close())
	}
	return 0, fmt.Errorf("no free port between 20000 and 29999 in 100 tries: %w", os.ErrExist)
}
