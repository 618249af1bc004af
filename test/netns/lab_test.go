package netns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aftermesh/aftermesh/pkg/redirect"
)

// Addresses of the laboratory. The pod reaches everything else through the peer.
const (
	podV4, podV6   = "10.254.7.2", "fd07:254::2"
	peerV4, peerV6 = "10.254.7.1", "fd07:254::1"
)

// outside are further addresses of the peer: destinations beyond the pod's own network.
var outside = []string{"169.254.169.254/32", "203.0.113.7/32", "198.51.100.1/32", "198.51.100.200/32", "2001:db8:1::7/128", "2001:db8:2::7/128"}

var labs atomic.Int32

// lab is two network namespaces, pod and peer.
type lab struct {
	t         *testing.T
	pod, peer string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	id := fmt.Sprintf("amt%d-%d", os.Getpid(), labs.Add(1))
	l := &lab{t: t, pod: id + "p", peer: id + "q"}
	for _, ns := range []string{l.pod, l.peer} {
		l.run("ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		l.run("ip", "-n", ns, "link", "set", "lo", "up")
	}
	l.run("ip", "-n", l.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", l.peer)
	for ns, addrs := range map[string][]string{l.pod: {podV4 + "/24", podV6 + "/64"}, l.peer: {peerV4 + "/24", peerV6 + "/64"}} {
		for _, addr := range addrs {
			l.addAddr(ns, "eth0", addr)
		}
		l.run("ip", "-n", ns, "link", "set", "eth0", "up")
	}
	for _, addr := range outside {
		l.addAddr(l.peer, "lo", addr)
	}
	l.run("ip", "-n", l.pod, "route", "add", "default", "via", peerV4)
	l.run("ip", "-n", l.pod, "-6", "route", "add", "default", "via", peerV6)
	return l
}

func (l *lab) addAddr(ns, link, addr string) {
	l.t.Helper()
	args := []string{"-n", ns, "addr", "add", addr, "dev", link}
	if strings.Contains(addr, ":") {
		args = append(args, "nodad")
	}
	l.run("ip", args...)
}

func (l *lab) run(name string, args ...string) string {
	l.t.Helper()
	out, err := exec.CommandContext(l.t.Context(), name, args...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// nft runs nft inside the pod.
func (l *lab) nft(ns string, args ...string) string {
	l.t.Helper()
	return l.run("ip", append([]string{"netns", "exec", ns, "nft"}, args...)...)
}

func (l *lab) nftLoad(ns, script string) {
	l.t.Helper()
	cmd := exec.CommandContext(l.t.Context(), "ip", "netns", "exec", ns, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("nft -f: %v\n%s\n%s", err, out, script)
	}
}

// apply programs the pod and fails the test on error.
func (l *lab) apply(c redirect.Config) redirect.Summary {
	l.t.Helper()
	ns, err := os.Open("/var/run/netns/" + l.pod)
	if err != nil {
		l.t.Fatal(err)
	}
	defer ns.Close()
	summary, err := redirect.ApplyIn(int(ns.Fd()), c)
	if err != nil {
		l.t.Fatalf("apply: %v", err)
	}
	return summary
}

// owner is the user and group that a connection is made as.
type owner struct{ uid, gid int }

// in runs do on a thread of its own inside the namespace and with the file system identity of o, which is what the
// kernel notes as a socket's owner. The thread is thrown away afterwards.
func (l *lab) in(ns string, o owner, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		f, err := os.Open("/var/run/netns/" + ns)
		if err != nil {
			done <- err
			return
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		if o.gid != 0 {
			_, _, _ = unix.RawSyscall(unix.SYS_SETFSGID, uintptr(o.gid), 0, 0)
		}
		if o.uid != 0 {
			_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(o.uid), 0, 0)
		}
		done <- do()
	}()
	return <-done
}

// serve listens in a namespace and answers each connection with what answer makes of it.
func (l *lab) serve(ns, network, addr string, answer func(*net.TCPConn) string) {
	l.t.Helper()
	var listener net.Listener
	err := l.in(ns, owner{}, func() (err error) {
		listener, err = net.Listen(network, addr)
		return err
	})
	if err != nil {
		l.t.Fatalf("listen on %s in %s: %v", addr, ns, err)
	}
	l.t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(conn, answer(conn.(*net.TCPConn)))
			_ = conn.Close()
		}
	}()
}

// ask connects from a namespace and returns what the other side says, or "refused".
func (l *lab) ask(ns string, o owner, addr string) string {
	l.t.Helper()
	var said string
	err := l.in(ns, o, func() error {
		conn, err := net.DialTimeout("tcp", addr, 3*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		buf := make([]byte, 256)
		n, err := conn.Read(buf)
		said = string(buf[:n])
		return err
	})
	switch {
	case err == nil:
		return said
	case strings.Contains(err.Error(), "connection refused"):
		return "refused"
	default:
		return "error: " + err.Error()
	}
}

// says answers with a fixed word.
func says(word string) func(*net.TCPConn) string { return func(*net.TCPConn) string { return word } }

// original answers with a word and the destination that the caller dialled, as the kernel remembers it.
func original(word string) func(*net.TCPConn) string {
	return func(conn *net.TCPConn) string {
		dst, err := originalDst(conn)
		if err != nil {
			return word + " " + err.Error()
		}
		return word + " " + dst.String()
	}
}

// soOriginalDst is SO_ORIGINAL_DST, and IP6T_SO_ORIGINAL_DST, of the kernel's netfilter headers.
const soOriginalDst = 80

func originalDst(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	var dst netip.AddrPort
	var failed error
	err = raw.Control(func(fd uintptr) {
		if local.Is4() {
			var sa *unix.IPv6Mreq // 16 bytes, as long as a sockaddr_in
			if sa, failed = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, soOriginalDst); failed == nil {
				b := sa.Multiaddr
				dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3]))
			}
			return
		}
		var info *unix.IPv6MTUInfo // begins with a sockaddr_in6
		if info, failed = unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, soOriginalDst); failed == nil {
			dst = netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), info.Addr.Port>>8|info.Addr.Port<<8)
		}
	})
	if err == nil {
		err = failed
	}
	return dst, err
}
