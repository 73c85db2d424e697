{{- /* The release's name in names of Services, which begin with a letter and have no dots, and of StatefulSets,
       which have room for 52 characters. The hash keeps names apart that only what is left out told apart. */}}
{{- define "longshore.release" -}}
{{- if and (regexMatch "^[a-z][-a-z0-9]*$" .Release.Name) (le (len .Release.Name) 40) -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "r-%s-%s" (.Release.Name | replace "." "-" | trunc 29 | trimSuffix "-") (.Release.Name | sha256sum | trunc 8) -}}
{{- end -}}
{{- end -}}

{{- define "longshore.name" -}}
{{- $release := include "longshore.release" . -}}
{{- ternary $release (printf "%s-longshore" $release) (contains "longshore" $release) -}}
{{- end -}}

{{- /* For objects without a namespace: a release of the same name may be in another one. No name of a
       namespace or release has a colon. */}}
{{- define "longshore.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "longshore.name" .) -}}
{{- end -}}

{{- define "longshore.rabbitmq" -}}
{{- printf "%s-rabbitmq" (include "longshore.release" .) -}}
{{- end -}}

{{- define "longshore.rabbitmq.secret" -}}
{{- .Values.rabbitmq.existingSecret | default (include "longshore.rabbitmq" .) -}}
{{- end -}}

{{- define "longshore.labels" -}}
{{ include "longshore.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{- define "longshore.selector" -}}
app.kubernetes.io/name: longshore
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "longshore.rabbitmq.labels" -}}
{{ include "longshore.rabbitmq.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end -}}

{{- define "longshore.rabbitmq.selector" -}}
app.kubernetes.io/name: rabbitmq
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: broker
{{- end -}}
