{{/* One operator a cluster serves all namespaces, so its cluster-wide objects carry the release's name. */}}
{{- define "kubeopencode.name" -}}
{{- if contains "kubeopencode" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-kubeopencode" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "kubeopencode.selector" -}}
app.kubernetes.io/name: kubeopencode
app.kubernetes.io/component: controller
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kubeopencode.labels" -}}
{{ include "kubeopencode.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "kubeopencode.image" -}}
{{- with .Values.controller.image }}
{{- .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}
{{- end }}

{{- define "kubeopencode.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "kubeopencode.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where the operator's Pods and the Job that precedes its removal run, and how they pull. */}}
{{- define "kubeopencode.placement" -}}
{{- with .Values.controller.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.controller.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.controller.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A quantity of memory in whole MiB, as text; the schema has seen to its form. */}}
{{- define "kubeopencode.mebibytes" -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- $text := toString . }}
{{- $unit := regexFind "[A-Za-z]*$" $text }}
{{- divf (mulf (trimSuffix $unit $text | float64) (get $factors $unit)) 1048576 | floor | int }}
{{- end }}

{{/* The operator and its compile worker share the container's memory: under this the kernel ends both. The same of its cache. */}}
{{- define "kubeopencode.checkMemory" -}}
{{- $limit := dig "limits" "memory" "" .Values.controller.resources }}
{{- if and $limit (lt (include "kubeopencode.mebibytes" $limit | int) 384) }}
{{- fail (printf "controller.resources.limits.memory is %v, too little for the operator and the 256 MiB in which a plugin is compiled: set it to 384Mi or more, 768Mi for plugins of class large" $limit) }}
{{- end }}
{{- /* over its limit the kubelet evicts the operator; one compilation takes up to 256 MiB beside what is kept */}}
{{- $cache := .Values.plugins.cacheSizeLimit }}
{{- if lt (include "kubeopencode.mebibytes" $cache | int) 768 }}
{{- fail (printf "plugins.cacheSizeLimit is %v, too little for the 512 MiB of compiled plugins that the operator keeps and one compilation beside them: set it to 768Mi or more" $cache) }}
{{- end }}
{{- end }}
