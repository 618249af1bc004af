package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
	"github.com/aftermesh/aftermesh/controllers"
)

// checkCluster lists leftovers, and pods whose proxy is missing or old; finding any is a fault.
func checkCluster(ctx context.Context, k *kubeFlags, out io.Writer) error {
	cfg, _, err := k.load()
	if err != nil {
		return fmt.Errorf("%w; to check manifests, name them with -f", err)
	}
	c, err := client.New(cfg, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		return err
	}
	found, err := leftovers(ctx, c, time.Now())
	if err != nil {
		return err
	}
	pods, err := (&audit{client: c}).pods(ctx, "")
	if err != nil {
		return err
	}
	found = append(found, sumUp(pods)...)
	for _, l := range found {
		fmt.Fprintln(out, l)
	}
	if len(found) > 0 {
		return errFault
	}
	fmt.Fprintln(out, "no leftovers found, and every pod has the proxy that it should have")
	return nil
}

// sumUp says a line per owner and state, with the command that ends it.
func sumUp(list []podFinding) []string {
	var out []string
	for i := 0; i < len(list); {
		n := 1
		for i+n < len(list) && list[i+n].Owner == list[i].Owner && list[i+n].State == list[i].State {
			n++
		}
		x := list[i]
		pods := "pod " + x.Pod
		if n > 1 {
			pods = fmt.Sprintf("%d pods, such as %s", n, x.Pod)
		}
		line := fmt.Sprintf("%s in namespace %s: %s: %s", x.Owner, x.Owner.Namespace, pods, x.Why)
		if x.State != stateUnknown {
			line += fmt.Sprintf("; run: aftermesh restart -n %s --%s", x.Owner.Namespace, strings.ToLower(x.State))
		}
		out = append(out, line)
		i += n
	}
	return out
}

// leftovers says, a line each, what waits for a controller that is gone, with the command that ends it.
func leftovers(ctx context.Context, c client.Client, now time.Time) ([]string, error) {
	var out []string
	running, err := operatorRuns(ctx, c)
	if err != nil {
		return nil, err
	}
	objects, err := meshObjects(ctx, c)
	if err != nil {
		return nil, err
	}
	out = append(out, stuck(objects, running, now)...)
	held := 0
	for _, o := range objects {
		if o.GetDeletionTimestamp() == nil && slices.ContainsFunc(o.GetFinalizers(), isOurs) {
			held++
		}
	}
	if !running && held > 0 {
		out = append(out, fmt.Sprintf("finalizers on %s have no running operator that removes them; start the operator, or run: aftermesh uninstall", count(held, "object")))
	}
	names, err := unresolvableNames(ctx, c, objects)
	if err != nil {
		return nil, err
	}
	out = append(out, names...)
	hooks, err := deadWebhooks(ctx, c)
	return append(out, hooks...), err
}

// operatorRuns is true when our Deployment has a ready replica.
func operatorRuns(ctx context.Context, c client.Client) (bool, error) {
	var d appsv1.Deployment
	err := c.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: "aftermesh"}, &d)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("read Deployment %s/aftermesh: %w", systemNamespace, err)
	}
	return err == nil && d.Status.ReadyReplicas > 0, nil
}

// stuck says of every object whose deletion takes longer than a minute what it waits for.
func stuck(objects []meshv1beta2.Object, running bool, now time.Time) []string {
	var out []string
	for _, o := range objects {
		at := o.GetDeletionTimestamp()
		if at == nil || now.Sub(at.Time) < time.Minute || !slices.ContainsFunc(o.GetFinalizers(), isOurs) {
			continue
		}
		kind, name, flag := o.Common().Kind, o.GetName(), ""
		if o.GetNamespace() != "" {
			flag = " -n " + o.GetNamespace()
		}
		since := now.Sub(at.Time).Round(time.Second)
		if running {
			out = append(out, fmt.Sprintf("%s %s was deleted %v ago and is still in use; see: kubectl%s describe %s.%s %s",
				kind, name, since, flag, strings.ToLower(kind), meshv1beta2.GroupVersion.Group, name))
			continue
		}
		out = append(out, fmt.Sprintf("%s %s was deleted %v ago and waits for the operator, which does not run; start it, or run: aftermesh uninstall, or: kubectl%s patch %s.%s %s --type=merge -p '{\"metadata\":{\"finalizers\":null}}'",
			kind, name, since, flag, strings.ToLower(kind), meshv1beta2.GroupVersion.Group, name))
	}
	return out
}

// deadWebhooks finds webhook configurations for appmesh.k8s.aws, of whatever controller, whose Service does not exist: with them
// objects can neither be created nor changed.
func deadWebhooks(ctx context.Context, c client.Client) ([]string, error) {
	services := map[string][]*admissionregistrationv1.ServiceReference{}
	var mutating admissionregistrationv1.MutatingWebhookConfigurationList
	var validating admissionregistrationv1.ValidatingWebhookConfigurationList
	for _, list := range []client.ObjectList{&mutating, &validating} {
		if err := c.List(ctx, list); err != nil {
			return nil, fmt.Errorf("list webhook configurations: %w", err)
		}
	}
	note := func(kind, name, hook string, s *admissionregistrationv1.ServiceReference) {
		if s != nil && strings.HasSuffix(hook, "."+meshv1beta2.GroupVersion.Group) {
			services[kind+" "+name] = append(services[kind+" "+name], s)
		}
	}
	for _, m := range mutating.Items {
		for _, w := range m.Webhooks {
			note("mutatingwebhookconfiguration", m.Name, w.Name, w.ClientConfig.Service)
		}
	}
	for _, v := range validating.Items {
		for _, w := range v.Webhooks {
			note("validatingwebhookconfiguration", v.Name, w.Name, w.ClientConfig.Service)
		}
	}
	var out []string
	for name, list := range services {
		err := c.Get(ctx, client.ObjectKey{Namespace: list[0].Namespace, Name: list[0].Name}, &corev1.Service{})
		switch {
		case apierrors.IsNotFound(err):
			out = append(out, fmt.Sprintf("%s calls Service %s/%s, which does not exist; run: kubectl delete %s", name, list[0].Namespace, list[0].Name, name))
		case err != nil:
			return nil, fmt.Errorf("read Service %s/%s: %w", list[0].Namespace, list[0].Name, err)
		}
	}
	slices.Sort(out)
	return out, nil
}
