package cluster

import (
	"net"
	"os"
	"strings"
	"time"
)

// liveResolvers returns the name servers of a resolv.conf that a pod could use:
// not on loopback, and answering at all. Without one, outside names do not exist.
func liveResolvers(file string) []string {
	data, _ := os.ReadFile(file)
	var live []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if ip := net.ParseIP(fields[1]); ip != nil && !ip.IsLoopback() && answers(fields[1]) {
			live = append(live, fields[1])
		}
	}
	return live
}

// answers sends one DNS question («. NS?») and says whether anything comes back within a second.
func answers(server string) bool {
	conn, err := net.DialTimeout("udp", net.JoinHostPort(server, "53"), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	// Header: id 0x4146, recursion desired, one question; question: root, type NS, class IN.
	question := []byte{0x41, 0x46, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write(question); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 512))
	return err == nil && n >= 12
}
