package compile

// The virtual hosts that are no user's. Source: dumps of App Mesh's configuration.
const (
	// passThroughHost takes unknown hosts where the mesh lets them through.
	passThroughHost = "mesh_allow_all"
	// entranceHost takes the hosts of a gateway that no route names.
	entranceHost = "self_redirect"
	// headerHost takes the requests of a gateway whose service is named by header.
	headerHost = "default_backend"
)

// hostOf is the name of the virtual host of a host that a user wrote. It is the host itself, as in App Mesh, unless that is the name of
// one of our own virtual hosts. Hosts contain no slash, so no two of them give the same name and none gives one of ours.
func hostOf(host string) string {
	switch host {
	case passThroughHost, entranceHost, headerHost:
		return host + "/host"
	default:
		return host
	}
}

// anyDomain is the domain of hosts that nothing else matches.
const anyDomain = "*"
