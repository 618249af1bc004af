package inject

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	meshv1beta2 "github.com/aftermesh/aftermesh/api/v1beta2"
)

// Volumes of ours.
const (
	// runVolume is an emptyDir for Envoy's admin pipe and temporary files.
	runVolume = "aftermesh"
	// credentialVolume holds the token for the control plane and the SDS file that names it.
	credentialVolume = "aftermesh-xds"
	sdsVolume        = "appmesh-sds-socket-volume"
)

// Files of credentialVolume.
const (
	tokenFile      = "token"
	credentialFile = "credential.json"
	bootstrapFile  = "bootstrap.json"
)

// maxVolumeName is the length of a DNS label.
const maxVolumeName = 63

// sidecarVolumes adds the volumes of a sidecar to the pod and returns its mounts, sorted by path.
func (w *work) sidecarVolumes() ([]corev1.VolumeMount, error) {
	mounts, err := w.ownVolumes(false)
	if err != nil {
		return nil, err
	}
	asked, err := w.requestedMounts()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(asked, func(m corev1.VolumeMount) bool { return path.Clean(m.MountPath) == tempPath }) {
		mounts = append(mounts, corev1.VolumeMount{Name: runVolume, MountPath: tempPath})
	}
	mounts = append(mounts, asked...)
	slices.SortFunc(mounts, func(a, b corev1.VolumeMount) int { return strings.Compare(a.MountPath, b.MountPath) })
	return mounts, nil
}

// ownVolumes adds the volumes that every proxy of ours needs. withBootstrap puts the bootstrap beside the token as a file.
func (w *work) ownVolumes(withBootstrap bool) ([]corev1.VolumeMount, error) {
	annotation := func(key, file string) corev1.DownwardAPIVolumeFile {
		return corev1.DownwardAPIVolumeFile{Path: file, FieldRef: &corev1.ObjectFieldSelector{
			APIVersion: "v1", FieldPath: "metadata.annotations['" + key + "']",
		}}
	}
	files := []corev1.DownwardAPIVolumeFile{annotation(meshv1beta2.AnnotationCredential, credentialFile)}
	if withBootstrap {
		files = append(files, annotation(annotationBootstrap, bootstrapFile))
	}
	p := w.config.ControlPlane
	if err := w.addVolume(corev1.Volume{Name: runVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}); err != nil {
		return nil, err
	}
	err := w.addVolume(corev1.Volume{Name: credentialVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: p.TokenAudience, ExpirationSeconds: ptr.To(int64(p.TokenExpiration / time.Second)), Path: tokenFile,
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: files}},
		},
	}}})
	return []corev1.VolumeMount{
		{Name: runVolume, MountPath: runPath},
		{Name: credentialVolume, MountPath: credentialPath, ReadOnly: true},
	}, err
}

// addVolume adds v unless a volume of its name and kind is there, which an earlier injection made.
func (w *work) addVolume(v corev1.Volume) error {
	for _, existing := range w.pod.Spec.Volumes {
		if existing.Name != v.Name {
			continue
		}
		if (existing.EmptyDir != nil) == (v.EmptyDir != nil) && (existing.Projected != nil) == (v.Projected != nil) {
			return nil
		}
		return deny("the pod has a volume named %s, a name that the proxy's own volume needs", v.Name)
	}
	w.pod.Spec.Volumes = append(w.pod.Spec.Volumes, v)
	return nil
}

// requestedMounts are those of secretMounts, volumeMounts and the SDS socket; it adds their volumes.
func (w *work) requestedMounts() ([]corev1.VolumeMount, error) {
	var mounts []corev1.VolumeMount
	for _, m := range w.request.volumeMounts {
		mounts = append(mounts, corev1.VolumeMount{Name: m.source, MountPath: m.path, ReadOnly: true})
	}
	for _, m := range w.request.secretMounts {
		volume, err := w.secretVolume(m.source)
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, corev1.VolumeMount{Name: volume, MountPath: m.path, ReadOnly: true})
	}
	if w.request.sds {
		mounts = append(mounts, corev1.VolumeMount{Name: w.socketVolume(), MountPath: w.config.SDSPath})
	}
	for i, m := range mounts {
		for _, other := range mounts[:i] {
			if path.Clean(m.MountPath) == path.Clean(other.MountPath) {
				return nil, deny("annotations %s and %s both mount %s", annotationVolumeMounts, annotationSecretMounts, m.MountPath)
			}
		}
		if clean := path.Clean(m.MountPath); clean == runPath || clean == credentialPath {
			return nil, deny("annotations %s and %s must not mount %s, which the proxy needs itself", annotationVolumeMounts, annotationSecretMounts, clean)
		}
	}
	return mounts, nil
}

// secretVolume adds the volume for a secret and returns its name: the secret's, made fit for a volume. A volume of that name
// is used if it is that secret's.
func (w *work) secretVolume(secret string) (string, error) {
	name := volumeName(secret)
	for _, v := range w.pod.Spec.Volumes {
		if v.Name != name {
			continue
		}
		if v.Secret != nil && v.Secret.SecretName == secret {
			return name, nil
		}
		return "", deny("annotation %s names the secret %s, but the pod has another volume of the name %s", annotationSecretMounts, secret, name)
	}
	w.pod.Spec.Volumes = append(w.pod.Spec.Volumes, corev1.Volume{
		Name: name, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}},
	})
	return name, nil
}

// volumeName makes a DNS label of a secret's name, which may have dots and be long.
func volumeName(secret string) string {
	if !strings.Contains(secret, ".") && len(secret) <= maxVolumeName {
		return secret
	}
	sum := sha256.Sum256([]byte(secret))
	suffix := "-" + hex.EncodeToString(sum[:4])
	name := strings.ReplaceAll(secret, ".", "-")
	return strings.TrimRight(name[:min(len(name), maxVolumeName-len(suffix))], "-") + suffix
}

// socketVolume returns the name of the volume with the SDS provider's socket; it adds one unless the pod has it.
func (w *work) socketVolume() string {
	for _, v := range w.pod.Spec.Volumes {
		if v.HostPath != nil && v.HostPath.Path == w.config.SDSPath {
			return v.Name
		}
	}
	w.pod.Spec.Volumes = append(w.pod.Spec.Volumes, corev1.Volume{Name: sdsVolume, VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: w.config.SDSPath, Type: ptr.To(corev1.HostPathSocket)},
	}})
	return sdsVolume
}
