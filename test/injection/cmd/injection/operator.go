package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/test/injection"
)

// Names of the installation, see config/manager.
const (
	operatorName      = "aftermesh"
	operatorContainer = "controller"
)

func (l *lab) deployment(ctx context.Context) (*appsv1.Deployment, error) {
	d := &appsv1.Deployment{}
	return d, l.client.Get(ctx, client.ObjectKey{Namespace: injection.OperatorNamespace, Name: operatorName}, d)
}

// addresses are the cluster addresses of a Service, separated by commas.
func (l *lab) addresses(ctx context.Context, namespace, name string) (string, error) {
	s := &corev1.Service{}
	err := l.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, s)
	return strings.Join(s.Spec.ClusterIPs, ","), err
}

// controller is the index of the operator's container.
func controller(spec corev1.PodSpec) (int, error) {
	i := slices.IndexFunc(spec.Containers, func(c corev1.Container) bool { return c.Name == operatorContainer })
	if i < 0 {
		return 0, fmt.Errorf("the operator has no container %s", operatorContainer)
	}
	return i, nil
}

// setFlags lets the operator run with its own arguments and these flags behind them, and waits until no replica with others is left.
func (l *lab) setFlags(ctx context.Context, flags []string) error {
	args := slices.Concat(l.args, flags)
	d, err := l.deployment(ctx)
	if err != nil {
		return err
	}
	patch, err := argsPatch(d, args)
	if err != nil {
		return err
	}
	if err := l.client.Patch(ctx, d, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		return fmt.Errorf("set the operator's flags: %w", err)
	}
	return await(ctx, "the operator runs with other flags", func() error {
		d, err := l.deployment(ctx)
		if err != nil {
			return err
		}
		var pods corev1.PodList
		if err := l.client.List(ctx, &pods, client.InNamespace(d.Namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels)); err != nil {
			return err
		}
		return rolledOut(d, pods.Items, args)
	})
}

// argsPatch replaces the arguments of the operator's container, if that still stands where it stood.
func argsPatch(d *appsv1.Deployment, args []string) ([]byte, error) {
	i, err := controller(d.Spec.Template.Spec)
	if err != nil {
		return nil, err
	}
	type step struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	place := fmt.Sprintf("/spec/template/spec/containers/%d/", i)
	return json.Marshal([]step{{"test", place + "name", operatorContainer}, {"add", place + "args", args}})
}

// rolledOut says what is missing until exactly the wanted replicas are there, all with these arguments and ready. Pods that are ending
// count: one of them could still answer the API server over a connection that is open.
func rolledOut(d *appsv1.Deployment, pods []corev1.Pod, args []string) error {
	if d.Status.ObservedGeneration < d.Generation {
		return errors.New("the change of the Deployment has not been seen yet")
	}
	if want := int(ptr.Deref(d.Spec.Replicas, 1)); len(pods) != want {
		return fmt.Errorf("there are %d pods, want %d%s", len(pods), want, troubles(pods))
	}
	for _, p := range pods {
		i, err := controller(p.Spec)
		switch {
		case err != nil:
			return err
		case p.DeletionTimestamp != nil:
			return fmt.Errorf("pod %s is still ending", p.Name)
		case !slices.Equal(p.Spec.Containers[i].Args, args):
			return fmt.Errorf("pod %s runs with other arguments%s", p.Name, troubles(pods))
		case !ready(p):
			return fmt.Errorf("pod %s is not ready%s", p.Name, troubles(pods))
		}
	}
	return nil
}

func ready(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// troubles are what kubelet says about containers that wait or have ended, as an appendix to a sentence.
func troubles(pods []corev1.Pod) string {
	text := ""
	for _, p := range pods {
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil {
				text += fmt.Sprintf("; %s waits: %s %s", p.Name, w.Reason, w.Message)
			}
			if e := c.LastTerminationState.Terminated; e != nil {
				text += fmt.Sprintf("; %s has ended with code %d: %s %s", p.Name, e.ExitCode, e.Reason, e.Message)
			}
		}
	}
	return text
}
