package corpus

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The cluster's DNS server, its namespace, Deployment and ConfigMap, and the file in that.
const dnsNamespace, dnsName, dnsFile = "kube-system", "coredns", "Corefile"

// aliasMark ends the lines of the Corefile that this package has added.
const aliasMark = " # corpus"

// alias makes the cluster's DNS answer names with the addresses of others, and forgets the names of the case before. A target
// "namespace/service" is a Service; anything else is a name.
func (k *kube) alias(ctx context.Context, aliases []Alias) error {
	maps := k.typed.CoreV1().ConfigMaps(dnsNamespace)
	m, err := maps.Get(ctx, dnsName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the configuration of the cluster's DNS: %w", err)
	}
	file, err := withAliases(m.Data[dnsFile], aliases)
	if err != nil || file == m.Data[dnsFile] {
		return err
	}
	m.Data[dnsFile] = file
	if _, err := maps.Update(ctx, m, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("change the configuration of the cluster's DNS: %w", err)
	}
	if err := k.restart(ctx, dnsNamespace, dnsName); err != nil {
		return err
	}
	return wait(ctx, readyLimit, func() error { return k.rolledOut(ctx, dnsNamespace, dnsName) })
}

// withAliases returns a Corefile whose server block for all names has these aliases and no others.
func withAliases(file string, aliases []Alias) (string, error) {
	lines := slices.DeleteFunc(strings.Split(file, "\n"), func(l string) bool { return strings.HasSuffix(l, aliasMark) })
	at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, ".:53 {") })
	if at < 0 {
		return "", fmt.Errorf("the Corefile has no server block %q", ".:53 {")
	}
	var added []string
	for _, a := range aliases {
		to := a.To
		if ns, service, ok := strings.Cut(to, "/"); ok {
			to = service + "." + ns + ".svc.cluster.local"
		}
		added = append(added, fmt.Sprintf("    rewrite stop name exact %s %s answer auto%s", absolute(a.Name), absolute(to), aliasMark))
	}
	return strings.Join(slices.Insert(lines, at+1, added...), "\n"), nil
}

func absolute(name string) string { return strings.TrimSuffix(name, ".") + "." }
