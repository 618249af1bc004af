package cli

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/pkg/compile"
)

// dnsService is the Service of the operator's DNS server.
const dnsService = "aftermesh-dns"

// unresolvableNames says which names do not resolve, by what the operator wrote into conditions, with the CoreDNS stanza that ends it.
func unresolvableNames(ctx context.Context, c client.Client, objects []meshv1beta2.Object) ([]string, error) {
	var zones, services []string
	for _, o := range objects {
		a := meshv1beta2.FindCondition(*o.Common().Conditions, meshv1beta2.ConditionAccepted)
		if a == nil {
			continue
		}
		if found := compile.UnresolvableZones(a.Message); len(found) > 0 {
			zones = append(zones, found...)
			services = append(services, o.GetNamespace()+"/"+o.GetName())
		}
	}
	if len(zones) == 0 {
		return nil, nil
	}
	slices.Sort(zones)
	var s corev1.Service
	if err := c.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: dnsService}, &s); apierrors.IsNotFound(err) {
		return []string{fmt.Sprintf("Service %s/%s does not exist, so nothing answers for the names of VirtualServices %s; run: kubectl apply -k config/default",
			systemNamespace, dnsService, strings.Join(services, ", "))}, nil
	} else if err != nil {
		return nil, fmt.Errorf("read Service %s/%s: %w", systemNamespace, dnsService, err)
	}
	return []string{fmt.Sprintf("the names of %s, such as %s, do not resolve; add this to CoreDNS's Corefile, in EKS: kubectl -n kube-system edit configmap coredns\n\n%s",
		count(len(services), "VirtualService"), services[0], stanza(slices.Compact(zones), s.Spec.ClusterIPs))}, nil
}

// stanza makes CoreDNS ask the operator for everything in the zones. Without the second cache line CoreDNS would remember for five seconds at
// least that a name does not exist, whatever the answer says.
func stanza(zones, servers []string) string {
	var b strings.Builder
	for _, z := range zones {
		fmt.Fprintf(&b, "%s:53 ", z)
	}
	b.WriteString("{\n    errors\n    cache 5 {\n        denial 1024 3 1\n    }\n    forward .")
	for _, ip := range servers {
		if net.ParseIP(ip) != nil {
			b.WriteString(" " + ip)
		}
	}
	b.WriteString("\n}\n")
	return b.String()
}
