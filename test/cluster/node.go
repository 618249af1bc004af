package cluster

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// node starts everything around a plane that makes a cluster of it.
type node struct {
	Layout
	settings
	plane *plane
}

// network makes the bridge that carries pods, their gateway and the node's own
// address, and routes Services over it, so that the machine itself reaches
// ClusterIPs (the API server must, for webhooks) even without a default route.
func (n *node) network() error {
	for _, module := range []string{"overlay", "br_netfilter", "nf_conntrack"} {
		_ = exec.Command("modprobe", module).Run() // may be built in
	}
	if err := saveSysctls(n.state("sysctls.json"), strings.Contains(n.PodCIDRs, ":")); err != nil {
		return err
	}
	// A bridge without an address of its own takes the lowest of its ports': as pods come and go it would change, and other pods would
	// send to the old one until their neighbour caches expire.
	if err := quiet("", "ip", "link", "add", bridge, "address", bridgeMAC, "type", "bridge"); err != nil {
		return err
	}
	if err := quiet("", "ip", "link", "set", bridge, "up"); err != nil {
		return err
	}
	for _, f := range n.Families {
		// nodad: a bridge without ports never finishes duplicate address detection.
		args := []string{"addr", "add", f.Node + "/" + f.bits, "dev", bridge}
		if strings.Contains(f.Node, ":") {
			args = append(args, "nodad")
		}
		if err := quiet("", "ip", args...); err != nil {
			return err
		}
		if err := quiet("", "ip", "route", "add", f.Services, "dev", bridge, "src", f.Node); err != nil {
			return err
		}
	}
	return n.masquerade()
}

// masquerade lets pods reach the outside world under the machine's address.
func (n *node) masquerade() error {
	rules := "table inet " + nftTable + " {\n chain postrouting {\n  type nat hook postrouting priority srcnat;\n"
	for _, f := range n.Families {
		ip := "ip"
		if strings.Contains(f.Node, ":") {
			ip = "ip6"
		}
		rules += "  " + ip + " saddr " + f.Pods + " oifname != { \"" + bridge + "\", \"lo\" } masquerade\n"
	}
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules + " }\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New("nft: " + string(out))
	}
	return nil
}

// runtime starts containerd with root, state and socket of its own.
func (n *node) runtime(ctx context.Context) error {
	config := n.state("containerd.toml")
	if err := n.write("containerd.toml", config); err != nil {
		return err
	}
	if err := n.write("cni.json", n.state("cni", "net.d", "10-aftermesh.conflist")); err != nil {
		return err
	}
	if err := n.plane.run("containerd", []string{"containerd", "--config", config}); err != nil {
		return err
	}
	return await(ctx, 30*time.Second, "containerd", n.plane.logs(), n.plane.procs, func() error {
		return quiet("", "ctr", "--address", socket(), "version")
	})
}

// controllers starts the controller manager and the scheduler.
func (n *node) controllers() error {
	manager := n.state("kube-controller-manager.kubeconfig")
	if err := n.client("kube-controller-manager", "system:kube-controller-manager"); err != nil {
		return err
	}
	masks := []string{}
	for _, f := range n.Families {
		name := "--node-cidr-mask-size-ipv4="
		if strings.Contains(f.Node, ":") {
			name = "--node-cidr-mask-size-ipv6="
		}
		masks = append(masks, name+f.bits)
	}
	if len(masks) == 1 {
		masks[0] = "--node-cidr-mask-size=" + n.Families[0].bits
	}
	err := n.plane.run("kube-controller-manager", append([]string{n.Kube, "kube-controller-manager",
		"--kubeconfig=" + manager, "--authentication-kubeconfig=" + manager, "--authorization-kubeconfig=" + manager,
		"--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(n.ManagerPort),
		"--use-service-account-credentials", "--service-account-private-key-file=" + n.plane.ca.path("sa.key"),
		"--root-ca-file=" + n.plane.ca.path("ca.crt"),
		"--cluster-signing-cert-file=" + n.plane.ca.path("ca.crt"), "--cluster-signing-key-file=" + n.plane.ca.path("ca.key"),
		"--allocate-node-cidrs", "--cluster-cidr=" + n.PodCIDRs, "--service-cluster-ip-range=" + n.Services,
		"--kube-api-qps=500", "--kube-api-burst=1000"}, masks...))
	if err != nil {
		return err
	}
	scheduler := n.state("kube-scheduler.kubeconfig")
	if err := n.client("kube-scheduler", "system:kube-scheduler"); err != nil {
		return err
	}
	return n.plane.run("kube-scheduler", []string{n.Kube, "kube-scheduler",
		"--kubeconfig=" + scheduler, "--authentication-kubeconfig=" + scheduler, "--authorization-kubeconfig=" + scheduler,
		"--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(n.SchedulerPort),
		"--kube-api-qps=500", "--kube-api-burst=1000"})
}

// kubelet starts kubelet with the node's own identity, as the Node authorizer wants it.
func (n *node) kubelet() error {
	addresses := nodeAddresses(n.Families)
	subject := pkix.Name{CommonName: "system:node:" + nodeName, Organization: []string{"system:nodes"}}
	if err := n.plane.ca.issue("kubelet", subject, append(addresses, nodeName)...); err != nil {
		return err
	}
	if err := n.plane.ca.kubeconfig(n.state("kubelet.kubeconfig"), "kubelet", n.plane.url()); err != nil {
		return err
	}
	if err := errors.Join(n.write("kubelet.yaml", n.state("kubelet.yaml")), n.resolvConf(), makeCgroups()); err != nil {
		return err
	}
	return n.plane.run("kubelet", []string{n.Kube, "kubelet",
		"--config=" + n.state("kubelet.yaml"), "--kubeconfig=" + n.state("kubelet.kubeconfig"),
		"--root-dir=" + n.state("kubelet"), "--cert-dir=" + n.plane.ca.dir,
		"--hostname-override=" + nodeName, "--node-ip=" + strings.Join(addresses, ","),
		"--node-labels=topology.kubernetes.io/region=local,topology.kubernetes.io/zone=local-a"})
}

func nodeAddresses(fams []family) []string {
	var list []string
	for _, f := range fams {
		list = append(list, f.Node)
	}
	return list
}

// resolvConf is the name service of pods with dnsPolicy Default.
func (n *node) resolvConf() error {
	text := ""
	for _, r := range strings.Fields(n.Resolvers) {
		text += "nameserver " + r + "\n"
	}
	return os.WriteFile(n.state("resolv.conf"), []byte(text), 0o644)
}

func (n *node) proxy() error {
	if err := n.client("kube-proxy", "system:kube-proxy"); err != nil {
		return err
	}
	if err := n.write("kube-proxy.yaml", n.state("kube-proxy.yaml")); err != nil {
		return err
	}
	return n.plane.run("kube-proxy", []string{n.Kube, "kube-proxy", "--config=" + n.state("kube-proxy.yaml")})
}

// client writes NAME.kubeconfig for a user.
func (n *node) client(name, user string) error {
	if err := n.plane.ca.issue(name, pkix.Name{CommonName: user}); err != nil {
		return err
	}
	return n.plane.ca.kubeconfig(filepath.Join(n.plane.dir, name+".kubeconfig"), name, n.plane.url())
}
