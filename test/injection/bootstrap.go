package injection

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// bootstrapFile is the part of Envoy's bootstrap that the cases look at.
type bootstrapFile struct {
	Node struct {
		ID, Cluster string
	}
	Admin           struct{ Address address }
	StaticResources struct {
		Clusters []struct {
			Name           string
			LoadAssignment struct {
				Endpoints []struct {
					LBEndpoints []struct {
						Endpoint struct{ Address address }
					} `json:"lb_endpoints"`
				}
			} `json:"load_assignment"`
		}
	} `json:"static_resources"`
	Tracing struct {
		HTTP struct {
			Name        string
			TypedConfig struct {
				ServiceName string `json:"service_name"`
				SegmentName string `json:"segment_name"`
				Rules       struct {
					Text string `json:"inline_string"`
				} `json:"sampling_rule_manifest"`
				Daemon socket `json:"daemon_endpoint"`
				Form   string `json:"collector_endpoint_version"`
			} `json:"typed_config"`
		}
	}
	StatsSinks []struct {
		TypedConfig struct{ Address address } `json:"typed_config"`
	} `json:"stats_sinks"`
	StatsConfig struct {
		StatsTags []struct {
			Name  string `json:"tag_name"`
			Fixed string `json:"fixed_value"`
		} `json:"stats_tags"`
	} `json:"stats_config"`
}

type address struct {
	Socket socket                `json:"socket_address"`
	Pipe   struct{ Path string } `json:"pipe"`
}

type socket struct {
	Address string
	Port    int `json:"port_value"`
}

func (s socket) String() string {
	if s.Port == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", s.Address, s.Port)
}

func (a address) String() string {
	if a.Pipe.Path != "" {
		return a.Pipe.Path
	}
	return a.Socket.String()
}

// bootstrapFacts are those of the bootstrap that a pod's Envoy gets, wherever it stands in the pod.
func bootstrapFacts(p *corev1.Pod) map[string]string {
	f := map[string]string{}
	text := p.Annotations["aftermesh.dev/bootstrap"]
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		for i, arg := range c.Args {
			if (arg == "--config-yaml" || arg == "--base") && i+1 < len(c.Args) {
				text = c.Args[i+1]
			}
		}
	}
	var b bootstrapFile
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return f
	}
	f["bootstrap.node"], f["bootstrap.as"], f["bootstrap.admin"] = b.Node.ID, b.Node.Cluster, b.Admin.Address.String()
	for _, c := range b.StaticResources.Clusters {
		for _, group := range c.LoadAssignment.Endpoints {
			for _, e := range group.LBEndpoints {
				f["bootstrap.cluster."+c.Name] = e.Endpoint.Address.String()
			}
		}
	}
	t := b.Tracing.HTTP
	f["bootstrap.tracer"], f["bootstrap.tracer.daemon"] = t.Name, t.TypedConfig.Daemon.String()
	f["bootstrap.tracer.service"] = t.TypedConfig.ServiceName + t.TypedConfig.SegmentName
	f["bootstrap.tracer.form"], f["bootstrap.tracer.rules"] = t.TypedConfig.Form, t.TypedConfig.Rules.Text
	for _, s := range b.StatsSinks {
		f["bootstrap.statsd"] = s.TypedConfig.Address.String()
	}
	for _, tag := range b.StatsConfig.StatsTags {
		f["bootstrap.tag."+tag.Name] = tag.Fixed
	}
	return f
}
