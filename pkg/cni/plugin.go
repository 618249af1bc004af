package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/aftermesh/aftermesh/pkg/inject"
	"github.com/aftermesh/aftermesh/pkg/redirect"
)

// Type is the plugin's name in the chain and the name of its program.
const Type = "aftermesh-cni"

// patience bounds how long the API server is asked for a pod. Kubelet tries a failed sandbox again.
const patience = 5 * time.Second

// configuration is the plugin's entry in the chain.
type configuration struct {
	types.PluginConf
	// Kubeconfig is the credential for reading pods, RecordDir where pods are noted that were redirected.
	Kubeconfig string `json:"kubeconfig"`
	RecordDir  string `json:"recordDir"`
}

// identity is what the runtime says about the pod.
type identity struct {
	types.CommonArgs
	K8S_POD_NAMESPACE, K8S_POD_NAME, K8S_POD_UID types.UnmarshallableString // found by these names
}

// Main answers one call of the container runtime, by environment and standard input, and returns the exit code.
func Main(aftermesh string) int {
	err := skel.PluginMainFuncsWithError(skel.CNIFuncs{Add: add, Check: check, Del: del, GC: ignore, Status: ready}, version.All, Type+" "+aftermesh)
	if err == nil {
		return 0
	}
	if printing := err.Print(); printing != nil {
		fmt.Fprintln(os.Stderr, printing)
	}
	return 1
}

// add redirects the traffic of a pod that is injected in CNI form, and passes the network's result on.
func add(args *skel.CmdArgs) error {
	conf, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	if conf.PrevResult == nil {
		return errors.New("no result of a plugin before: " + Type + " stands behind the plugin that makes the interface, see docs/interception.md")
	}
	pod, plan, err := conf.plan(args)
	if err != nil {
		return err
	}
	if pod != nil {
		if err := program(args.Netns, plan); err != nil {
			return fmt.Errorf("redirect the traffic of pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		if err := conf.record(string(pod.UID)); err != nil {
			return err
		}
	}
	return types.PrintResult(conf.PrevResult, conf.CNIVersion)
}

// check fails when a pod's rules are gone.
func check(args *skel.CmdArgs) error {
	conf, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	pod, _, err := conf.plan(args)
	if err != nil || pod == nil {
		return err
	}
	ns, err := os.Open(args.Netns)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	there, err := redirect.Present(int(ns.Fd()))
	if err == nil && !there {
		err = fmt.Errorf("the traffic of pod %s/%s is not redirected: the nftables table of the mesh is gone; delete the pod", pod.Namespace, pod.Name)
	}
	return err
}

// del forgets a pod; its rules go with its network namespace. It never fails: a pod must always be able to end.
func del(args *skel.CmdArgs) error {
	conf, err := parse(args.StdinData)
	id := identity{}
	id.IgnoreUnknown = true
	if err == nil && types.LoadArgs(args.Args, &id) == nil && id.K8S_POD_UID != "" {
		_ = os.Remove(filepath.Join(conf.RecordDir, filepath.Base(string(id.K8S_POD_UID)))) // of a pod that was never noted there is none
	}
	return nil
}

// ready says whether the next pod could be read.
func ready(args *skel.CmdArgs) error {
	conf, err := parse(args.StdinData)
	if err != nil {
		return err
	}
	_, err = os.Stat(conf.Kubeconfig)
	return err
}

func ignore(*skel.CmdArgs) error { return nil }

func parse(stdin []byte) (*configuration, error) {
	conf := &configuration{}
	if err := json.Unmarshal(stdin, conf); err != nil {
		return nil, fmt.Errorf("read the network configuration: %w", err)
	}
	if conf.Kubeconfig == "" || conf.RecordDir == "" {
		return nil, errors.New("the entry of " + Type + " in the network configuration needs kubeconfig and recordDir; aftermesh cni install writes it")
	}
	if err := version.ParsePrevResult(&conf.PluginConf); err != nil {
		return nil, fmt.Errorf("read the result of the plugin before: %w", err)
	}
	return conf, nil
}

// plan reads the pod of a call and how its traffic is to be redirected; nil for a pod that is not ours to touch, or no pod at all.
func (c *configuration) plan(args *skel.CmdArgs) (*corev1.Pod, redirect.Config, error) {
	id := identity{}
	id.IgnoreUnknown = true
	if err := types.LoadArgs(args.Args, &id); err != nil {
		return nil, redirect.Config{}, fmt.Errorf("read CNI_ARGS %q: %w", args.Args, err)
	}
	if id.K8S_POD_NAME == "" || id.K8S_POD_NAMESPACE == "" {
		return nil, redirect.Config{}, nil
	}
	pod, err := c.pod(string(id.K8S_POD_NAMESPACE), string(id.K8S_POD_NAME))
	if err != nil {
		return nil, redirect.Config{}, err
	}
	if want := string(id.K8S_POD_UID); want != "" && string(pod.UID) != want {
		return nil, redirect.Config{}, fmt.Errorf("pod %s/%s has another UID (%s) than the sandbox (%s): it was recreated", pod.Namespace, pod.Name, pod.UID, want)
	}
	who, plan, err := inject.RedirectionOf(pod)
	if err != nil {
		return nil, plan, fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	if who != inject.CNIPlugin {
		return nil, plan, nil
	}
	return pod, plan, nil
}

// pod asks the API server, again and again while it fails.
func (c *configuration) pod(namespace, name string) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("%w; does the DaemonSet aftermesh-cni run on this node?", err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	for {
		pod, err := client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			return pod, nil
		}
		const pause = 200 * time.Millisecond
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("read pod %s/%s from the API server for %v: %w", namespace, name, patience, err)
		case <-time.After(pause):
		}
	}
}

// program puts the rules into a network namespace.
func program(netns string, plan redirect.Config) error {
	ns, err := os.Open(netns)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	_, err = redirect.ApplyIn(int(ns.Fd()), plan)
	return err
}

// record notes a pod that was redirected, so that those which were not can be found.
func (c *configuration) record(uid string) error {
	const private = 0o700
	if err := os.MkdirAll(c.RecordDir, private); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.RecordDir, filepath.Base(uid)), nil, 0o600)
}
