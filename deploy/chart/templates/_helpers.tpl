{{/* One operator a cluster serves all namespaces, so its cluster-wide objects carry the release's name. */}}
{{- define "kubeopencode.name" -}}
{{- $part := .Values.nameOverride | default "kubeopencode" }}
{{- $name := .Release.Name }}
{{- if not (contains $part $name) }}{{ $name = printf "%s-%s" $name $part }}{{ end }}
{{- .Values.fullnameOverride | default $name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "kubeopencode.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "kubeopencode.name" .) }}
{{- end }}

{{/* No value changes these: a Deployment's selector cannot be changed by an upgrade, and alerts and documents name them. */}}
{{- define "kubeopencode.selector" -}}
app.kubernetes.io/name: kubeopencode
app.kubernetes.io/component: controller
app.kubernetes.io/instance: {{ toYaml .Release.Name }}
{{- end }}

{{/* The namespaces that the operator watches, as JSON; none: all. Its own has the settings and the Task of `helm test`. */}}
{{- define "kubeopencode.namespaces" -}}
{{- with .Values.watchNamespaces }}{{ append . $.Release.Namespace | uniq | toJson }}{{ else }}[]{{ end }}
{{- end }}

{{/* A dict: root, component (left out: the operator), labels. */}}
{{- define "kubeopencode.labels" -}}
app.kubernetes.io/name: kubeopencode
app.kubernetes.io/component: {{ .component | default "controller" }}
app.kubernetes.io/instance: {{ toYaml .root.Release.Name }}
app.kubernetes.io/version: {{ quote .root.Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- with merge (dict) (.labels | default dict) .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The metadata of every object. A dict: root, name, or suffix of the release's, namespace, component, labels, annotations.
     By toYaml, which quotes the namespace `on` and the release `1`. */}}
{{- define "kubeopencode.metadata" -}}
name: {{ .name | default (join "-" (compact (list (include "kubeopencode.name" .root) .suffix))) | toYaml }}
{{- with .namespace }}
namespace: {{ toYaml . }}
{{- end }}
labels: {{- include "kubeopencode.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The metadata of Pods. A dict: root, component, annotations. */}}
{{- define "kubeopencode.podMetadata" -}}
{{- $values := .root.Values -}}
labels: {{- include "kubeopencode.labels" (dict "root" .root "component" .component "labels" $values.controller.podLabels) | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) $values.controller.podAnnotations $values.commonAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* list $ REPOSITORY: where the image is pulled from. What stands before the first slash is a registry if it has a dot or a port. */}}
{{- define "kubeopencode.repository" -}}
{{- $repository := index . 1 }}
{{- with (index . 0).Values.global.imageRegistry -}}
{{ . }}/{{ regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "" }}
{{- else -}}
{{ $repository }}
{{- end }}
{{- end }}

{{- define "kubeopencode.images" }}{{ .Files.Get "files/images.yaml" }}{{ end }}

{{/* A release's digest is that of its own tag. */}}
{{- define "kubeopencode.image" -}}
{{- with .Values.controller.image }}
{{- $own := (include "kubeopencode.images" $ | fromYaml).systemImage | regexFind "sha256:.*" }}
{{- $digest := .digest | default (ternary "" $own (not (empty .tag))) }}
{{- include "kubeopencode.repository" (list $ .repository) }}:{{ .tag | default $.Chart.AppVersion }}{{ with $digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{- define "kubeopencode.isOpenShift" -}}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1/SecurityContextConstraints" }}true{{ end }}
{{- end }}

{{/* OpenShift gives each namespace its users and groups, and refuses a Pod that brings others: there the chart's own go. */}}
{{- define "kubeopencode.podSecurity" -}}
{{- $context := deepCopy .Values.controller.podSecurityContext }}
{{- if include "kubeopencode.isOpenShift" . }}
{{- range list "runAsUser" "runAsGroup" "fsGroup" }}
{{- if eq (get $context . | int64) 65532 }}{{ $_ := unset $context . }}{{ end }}
{{- end }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{/* What the Pods of the operator, of the Job that precedes its removal and of the test have in common. */}}
{{- define "kubeopencode.podSpec" -}}
serviceAccountName: {{ include "kubeopencode.serviceAccount" . | toYaml }}
automountServiceAccountToken: true
# Services as environment variables: hundreds in a big namespace, and the program reads none but the API server's
enableServiceLinks: false
securityContext: {{- include "kubeopencode.podSecurity" . | nindent 2 }}
{{- include "kubeopencode.placement" . }}
{{- end }}

{{/* The same of their containers. */}}
{{- define "kubeopencode.container" -}}
image: {{ include "kubeopencode.image" . | quote }}
imagePullPolicy: {{ .Values.controller.image.pullPolicy }}
# what kubectl describe shows of one that ended with an error
terminationMessagePolicy: FallbackToLogsOnError
securityContext: {{- toYaml .Values.controller.securityContext | nindent 2 }}
{{- end }}

{{/* What the Pods that run once have in common: the Job's and the test's. */}}
{{- define "kubeopencode.oncePodSpec" -}}
restartPolicy: Never
{{ include "kubeopencode.podSpec" . }}
{{- with .Values.controller.extraVolumes }}
volumes: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The same of their containers. */}}
{{- define "kubeopencode.onceContainer" -}}
{{ include "kubeopencode.container" . }}
{{- with .Values.controller.extraEnv }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
resources:
  requests: {cpu: 10m, memory: 32Mi}
  limits: {memory: 256Mi}
{{- with .Values.controller.extraVolumeMounts }}
volumeMounts: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where these Pods run, and how they pull. */}}
{{- define "kubeopencode.placement" -}}
{{- $secrets := .Values.controller.image.pullSecrets }}
{{- range .Values.global.imagePullSecrets }}
{{- $secrets = append $secrets (kindIs "map" . | ternary . (dict "name" .)).name }}
{{- end }}
{{- with $secrets | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- range $field := list "nodeSelector" "tolerations" "hostAliases" "dnsPolicy" "dnsConfig" }}
{{- with get $.Values.controller $field }}
{{ $field }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* How the operator's replicas are spread; where nothing is said, over nodes, and a cluster of one node still gets all of them. */}}
{{- define "kubeopencode.spread" -}}
{{- $operators := dict "matchLabels" (include "kubeopencode.selector" . | fromYaml) }}
{{- with .Values.controller }}
{{- $spread := .topologySpreadConstraints }}
{{- if and (gt (int .replicas) 1) (not (or .affinity $spread)) }}
{{- $spread = list (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway") }}
{{- end }}
{{- range $spread }}
- {{- toYaml (hasKey . "labelSelector" | ternary . (merge (dict "labelSelector" $operators) .)) | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where components of Plugins come from, as flags: what differs from the program's own. */}}
{{- define "kubeopencode.pluginFlags" -}}
{{- if lt (len .sources) 4 }}
- --plugin-sources={{ join "," .sources }}
{{- end }}
{{- if .requireSignature }}
- --require-plugin-signature
{{- end }}
{{- if .caBundle.configMap }}
- --plugin-ca-file=/etc/kubeopencode/authorities/ca.crt
{{- end }}
{{- with .privateAddresses }}
- {{ printf "--plugin-private-addresses=%s" (join "," .) | quote }}
{{- end }}
{{- end }}

{{/* The same as volumes. */}}
{{- define "kubeopencode.pluginVolumes" -}}
{{- with .Values.plugins }}
{{- if .cosignKeys }}
- name: cosign-keys
  secret: {secretName: {{ include "kubeopencode.name" $ }}-cosign-keys}
{{- end }}
{{- if .registrySecrets }}
- name: registries
  projected:
    sources:
      {{- range .registrySecrets }}
      - secret: {name: {{ . }}, optional: true, items: [{key: .dockerconfigjson, path: {{ . }}.json}]}
      {{- end }}
{{- end }}
{{- with .caBundle.configMap }}
- name: authorities
  configMap: {name: {{ .name }}, items: [{key: {{ quote .key }}, path: ca.crt}]}
{{- end }}
{{- range $name, $volume := .directories }}
- name: plugins-{{ $name }}
  {{- toYaml $volume | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "kubeopencode.pluginMounts" -}}
{{- if .cosignKeys }}
- {name: cosign-keys, mountPath: /etc/kubeopencode/cosign-keys, readOnly: true}
{{- end }}
{{- if .registrySecrets }}
- {name: registries, mountPath: /etc/kubeopencode/registries, readOnly: true}
{{- end }}
{{- if .caBundle.configMap }}
- {name: authorities, mountPath: /etc/kubeopencode/authorities, readOnly: true}
{{- end }}
{{- range $name, $volume := .directories }}
- {name: plugins-{{ $name }}, mountPath: /plugins/{{ $name }}, readOnly: true}
{{- end }}
{{- end }}

{{/* A quantity of memory in whole MiB, as text; the schema has seen to its form. */}}
{{- define "kubeopencode.mebibytes" -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- $text := toString . }}
{{- $unit := regexFind "[A-Za-z]*$" $text }}
{{- divf (mulf (trimSuffix $unit $text | float64) (get $factors $unit)) 1048576 | floor | int }}
{{- end }}

{{/* What the schema cannot say, each with its remedy. */}}
{{- define "kubeopencode.check" -}}
{{- if not .Values.enabled }}
{{- fail "enabled is false, and nothing but the condition of a parent chart reads it: give the dependency a condition that names it, or take the chart away with helm uninstall" }}
{{- end }}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) }}
{{- fail "serviceAccount.create is false and serviceAccount.name is empty: name the ServiceAccount that there is" }}
{{- end }}
{{- $own := dict "leader-elect" "the chart always sets it" "plugin-cache-dir" "set plugins.cacheSizeLimit" "without-plugins" "set plugins.enabled" "without-kubetask" "set legacy.enabled" "watch-namespace" "set watchNamespaces" "plugin-sources" "set plugins.sources" "require-plugin-signature" "set plugins.requireSignature" "plugin-keys-dir" "set plugins.cosignKeys" "plugin-registries-dir" "set plugins.registrySecrets" "plugin-ca-file" "set plugins.caBundle" "plugin-private-addresses" "set plugins.privateAddresses" "plugin-volumes-dir" "set plugins.directories" "metrics-bind-address" "the Service for metrics needs it" "health-probe-bind-address" "the probes need it" "namespace" "it is the release's" "identity" "it is the Pod's name" }}
{{- range $flag := .Values.controller.extraArgs }}
{{- with get $own (regexReplaceAll "^--([^=]*).*$" $flag "${1}") }}
{{- fail (printf "controller.extraArgs has %s, which is the chart's own: %s" $flag .) }}
{{- end }}
{{- end }}
{{- $own := dict "POD_NAMESPACE" "it is the release's" "POD_NAME" "it is the Pod's name" "RUST_LOG" "set controller.logLevel" }}
{{- range $variable := .Values.controller.extraEnv }}
{{- with get $own $variable.name }}
{{- fail (printf "controller.extraEnv has %s, which is the chart's own: %s" $variable.name .) }}
{{- end }}
{{- end }}
{{- include "kubeopencode.checkMemory" . }}
{{- end }}

{{/* The operator and its compile worker share the container's memory: under this the kernel ends both. The same of its cache. */}}
{{- define "kubeopencode.checkMemory" -}}
{{- $limit := dig "limits" "memory" "" .Values.controller.resources }}
{{- if and $limit (lt (include "kubeopencode.mebibytes" $limit | int) 384) }}
{{- fail (printf "controller.resources.limits.memory is %v, too little for the operator and the 256 MiB in which a plugin is compiled: set it to 384Mi or more, 896Mi for plugins of class large" $limit) }}
{{- end }}
{{- /* over its limit the kubelet evicts the operator; one compilation takes up to 256 MiB beside what is kept */}}
{{- $cache := .Values.plugins.cacheSizeLimit }}
{{- if lt (include "kubeopencode.mebibytes" $cache | int) 768 }}
{{- fail (printf "plugins.cacheSizeLimit is %v, too little for the 512 MiB of compiled plugins that the operator keeps and one compilation beside them: set it to 768Mi or more" $cache) }}
{{- end }}
{{- end }}
