package cluster

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed config
var configs embed.FS

// Facts of the one node. Addresses are private and unlikely on a developer's network.
const (
	nodeName   = "aftermesh"
	bridge     = "aftermesh0"
	bridgeMAC  = "02:af:7e:00:00:01" // locally administered
	cgroupName = "aftermesh-cluster"
	pauseImage = "aftermesh/pause:1"
)

// family is one IP family of the cluster's network. The node's address is the
// bridge's, so nothing depends on the machine's own network.
type family struct {
	Pods     string // CIDR of all pods, the node's podCIDR as well
	Services string
	Node     string // the bridge's address, gateway of the pods
	DNS      string // ClusterIP of kube-dns
	First    string // ClusterIP of the API server
	Any      string // the default route
	bits     string // prefix length of Pods
}

var (
	ipv4 = family{Pods: "10.71.0.0/20", Services: "10.72.0.0/20", Node: "10.71.0.1", DNS: "10.72.0.10", First: "10.72.0.1", Any: "0.0.0.0/0", bits: "20"}
	ipv6 = family{Pods: "fd71:af7e::/112", Services: "fd72:af7e::/112", Node: "fd71:af7e::1", DNS: "fd72:af7e::a", First: "fd72:af7e::1", Any: "::/0", bits: "112"}
)

// families maps the values of --ip-family.
var families = map[string][]family{"ipv4": {ipv4}, "ipv6": {ipv6}, "dual": {ipv4, ipv6}}

// settings is what the templates in ./config may name.
type settings struct {
	State, Run, Socket, Kube   string
	CNIBin, Bridge, Cgroup     string
	NodeName, Pause            string
	Families                   []family
	PodCIDRs, Services         string // comma separated
	Resolvers                  string // space separated, "" for none
	KubeletPort                int
	ProxyHealthPort            int
	ProxyMetricsPort           int
	ManagerPort, SchedulerPort int
}

func (l Layout) settings(ipFamily string) (settings, error) {
	fams, ok := families[ipFamily]
	if !ok {
		return settings{}, fmt.Errorf("IP family %q is none of ipv4, ipv6, dual", ipFamily)
	}
	var pods, services []string
	for _, f := range fams {
		pods, services = append(pods, f.Pods), append(services, f.Services)
	}
	s := settings{State: l.state(), Run: runDir, Socket: socket(), Kube: l.Bin("kube"),
		CNIBin: "/usr/lib/cni", Bridge: bridge, Cgroup: "/" + cgroupName, NodeName: nodeName, Pause: pauseImage,
		Families: fams, PodCIDRs: strings.Join(pods, ","), Services: strings.Join(services, ","),
		Resolvers: strings.Join(liveResolvers("/etc/resolv.conf"), " ")}
	for _, port := range []*int{&s.KubeletPort, &s.ProxyHealthPort, &s.ProxyMetricsPort, &s.ManagerPort, &s.SchedulerPort} {
		var err error
		if *port, err = FreePort(); err != nil {
			return settings{}, err
		}
	}
	return s, nil
}

// render fills a template of ./config.
func (s settings) render(name string) ([]byte, error) {
	t, err := template.ParseFS(configs, "config/"+name)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, s)
	return out.Bytes(), err
}

// write renders a template into a file.
func (s settings) write(name, file string) error {
	data, err := s.render(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}
