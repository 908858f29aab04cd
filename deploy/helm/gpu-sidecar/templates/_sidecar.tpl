{{/*
The parts of a pod that make up the sidecar. Each takes the chart's root context: `.` in this chart,
(index .Subcharts "gpu-sidecar") in a chart that has this one as a dependency.
*/}}

{{- define "gpu-sidecar.socketDir" -}}
/run/gpu-sidecar
{{- end -}}

{{- define "gpu-sidecar.kernelRoot" -}}
{{- if eq .Values.kernels.source "image" -}}
/usr/share/gpu-sidecar/kernels
{{- else -}}
/var/lib/gpu-sidecar/kernels
{{- end -}}
{{- end -}}

{{- define "gpu-sidecar.kernelCache" -}}
/var/cache/gpu-sidecar/kernels
{{- end -}}

{{/* The daemon's configuration file. */}}
{{- define "gpu-sidecar.config" -}}
{{- $own := dict
  "socket" (dict "path" (printf "%s/gpu-sidecar.sock" (include "gpu-sidecar.socketDir" .)))
  "http" (dict "address" (printf "0.0.0.0:%d" (int64 .Values.sidecar.httpPort)))
  "silo" (dict "endpoint" (printf "127.0.0.1:%d" (int64 .Values.orleans.gatewayPort))
               "cluster_id" .Values.orleans.clusterId)
  "kernels" (dict "root" (include "gpu-sidecar.kernelRoot" .) "cache" (include "gpu-sidecar.kernelCache" .))
  "drain" (dict "timeout_ms" (mul (int64 .Values.sidecar.drainSeconds) 1000)) -}}
{{- $given := deepCopy .Values.sidecar.config -}}
{{- range $section, $options := $own -}}
{{- range $option, $_ := $options -}}
{{- if hasKey (default dict (get $given $section)) $option -}}
{{- fail (printf "sidecar.config.%s.%s is written by the chart from other values: take it out" $section $option) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (mergeOverwrite $given $own) -}}
{{- end -}}

{{/* An entry of initContainers. */}}
{{- define "gpu-sidecar.container" -}}
- name: gpu-sidecar
  image: {{ include "gpu-sidecar.image" (dict "image" .Values.sidecar.image "root" .) | quote }}
  imagePullPolicy: {{ .Values.sidecar.image.pullPolicy }}
  restartPolicy: Always
  args: [serve, --config, /etc/gpu-sidecar/config.yaml]
  {{- with .Values.sidecar.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: gpu-http
      containerPort: {{ int64 .Values.sidecar.httpPort }}
      protocol: TCP
  startupProbe:
    httpGet: {path: /startupz, port: gpu-http}
    {{- toYaml .Values.sidecar.probes.startup | nindent 4 }}
  livenessProbe:
    httpGet: {path: /livez, port: gpu-http}
    {{- toYaml .Values.sidecar.probes.liveness | nindent 4 }}
  readinessProbe:
    httpGet: {path: /readyz, port: gpu-http}
    {{- toYaml .Values.sidecar.probes.readiness | nindent 4 }}
  {{- with .Values.sidecar.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: {{ int64 .Values.sidecar.runAsUser }}
    runAsGroup: {{ int64 .Values.podSecurity.group }}
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities: {drop: [ALL]}
    seccompProfile: {type: RuntimeDefault}
  volumeMounts:
    - {name: gpu-sidecar-socket, mountPath: {{ include "gpu-sidecar.socketDir" . }}}
    - {name: gpu-sidecar-config, mountPath: /etc/gpu-sidecar, readOnly: true}
    - {name: gpu-sidecar-cache, mountPath: {{ dir (include "gpu-sidecar.kernelCache" .) }}}
    - {name: gpu-sidecar-tmp, mountPath: /tmp}
    {{- if ne .Values.kernels.source "image" }}
    - {name: gpu-sidecar-kernels, mountPath: {{ include "gpu-sidecar.kernelRoot" . }}, readOnly: true}
    {{- end }}
{{- end -}}

{{/* Entries of volumes. */}}
{{- define "gpu-sidecar.volumes" -}}
- name: gpu-sidecar-socket
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: gpu-sidecar-config
  configMap: {name: {{ include "gpu-sidecar.fullname" . }}-config}
- name: gpu-sidecar-cache
  emptyDir: {sizeLimit: {{ .Values.sidecar.cacheSizeLimit | quote }}}
- name: gpu-sidecar-tmp
  emptyDir: {sizeLimit: {{ .Values.sidecar.tmpSizeLimit | quote }}}
{{- if eq .Values.kernels.source "configMap" }}
{{- $from := .Values.kernels.configMap }}
- name: gpu-sidecar-kernels
  configMap:
    {{- if and $from.name $from.files }}
    {{- fail "kernels.configMap: give either name with items, or files" }}
    {{- else if $from.name }}
    name: {{ $from.name }}
    items:
      {{- toYaml (required "kernels.configMap.items must say which key is which file of a kernel package" (default "" $from.items)) | nindent 6 }}
    {{- else }}
    name: {{ include "gpu-sidecar.fullname" . }}-kernels
    items:
      {{- range $path, $_ := required "kernels.source configMap needs kernels.configMap.name or files" (default "" $from.files) }}
      - {key: {{ include "gpu-sidecar.kernelKey" $path }}, path: {{ $path | quote }}}
      {{- end }}
    {{- end }}
{{- else if eq .Values.kernels.source "imageVolume" }}
- name: gpu-sidecar-kernels
  image:
    reference: {{ required "kernels.source imageVolume needs kernels.imageVolume.reference" .Values.kernels.imageVolume.reference | quote }}
    pullPolicy: {{ .Values.kernels.imageVolume.pullPolicy }}
{{- end }}
{{- end -}}

{{/* A ConfigMap's key for a file's path: keys have no slash, and two paths never share one. */}}
{{- define "gpu-sidecar.kernelKey" -}}
{{ printf "%s-%s" (sha256sum . | trunc 12) (base .) }}
{{- end -}}

{{/* Entries of volumeMounts of the silo's container. */}}
{{- define "gpu-sidecar.siloVolumeMounts" -}}
- {name: gpu-sidecar-socket, mountPath: {{ include "gpu-sidecar.socketDir" . }}}
{{- end -}}

{{/* The pod's securityContext. */}}
{{- define "gpu-sidecar.podSecurityContext" -}}
runAsNonRoot: true
fsGroup: {{ int64 .Values.podSecurity.group }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* The silo is stopped first, then the sidecar: the grace period must hold both. */}}
{{- define "gpu-sidecar.terminationGracePeriodSeconds" -}}
{{ add (int64 .Values.silo.shutdownSeconds) (int64 .Values.sidecar.drainSeconds) 5 }}
{{- end -}}

{{/* Annotations for the pod: a change of the configuration starts new pods. */}}
{{- define "gpu-sidecar.podAnnotations" -}}
gpu-sidecar/config-sha256: {{ include "gpu-sidecar.config" . | sha256sum }}
{{- with .Values.kernels.configMap.files }}
gpu-sidecar/kernels-sha256: {{ toYaml . | sha256sum }}
{{- end }}
{{- if .Values.prometheusAnnotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ int64 .Values.sidecar.httpPort | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end -}}
