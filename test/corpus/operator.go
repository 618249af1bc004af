package corpus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The operator's Deployment, see config/manager.
const operatorNamespace, operatorName = "aftermesh-system", "aftermesh"

// operatorFlags are the flags that a case's controller settings stand for.
var operatorFlags = map[string]string{
	"enableBackendGroups": "--enable-backend-groups", "enableSDS": "--enable-sds", "sdsUdsPath": "--sds-uds-path",
}

// rolloutLimit bounds the time until all replicas run with new flags.
const rolloutLimit = 2 * time.Minute

// configure gives the operator the settings of a case, and takes back those of the case before.
func (k *kube) configure(ctx context.Context, settings map[string]any) error {
	var flags []string
	for name, value := range settings {
		if name == "ipFamily" {
			continue // the operator sees it in the addresses of its pod
		}
		flag, ok := operatorFlags[name]
		if !ok {
			return notYet("controller." + name)
		}
		flags = append(flags, fmt.Sprintf("%s=%v", flag, value))
	}
	slices.Sort(flags)
	deployments := k.typed.AppsV1().Deployments(operatorNamespace)
	d, err := deployments.Get(ctx, operatorName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the operator's Deployment: %w", err)
	}
	c := &d.Spec.Template.Spec.Containers[0]
	args := slices.DeleteFunc(slices.Clone(c.Args), func(arg string) bool {
		name, _, _ := strings.Cut(arg, "=")
		for _, flag := range operatorFlags {
			if name == flag {
				return true
			}
		}
		return false
	})
	if args = append(args, flags...); slices.Equal(args, c.Args) {
		return nil
	}
	c.Args = args
	if _, err := deployments.Update(ctx, d, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("change the operator's flags: %w", err)
	}
	return wait(ctx, rolloutLimit, func() error { return k.rolledOut(ctx, operatorNamespace, operatorName) })
}
