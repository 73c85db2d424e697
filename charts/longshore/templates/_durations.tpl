{{- /* The duration `value`, quoted, when it is between `least` and `most`; fails with the name of the
       value otherwise. The schema has seen to its form, but cannot compare. */}}
{{- define "longshore.duration" -}}
{{- $milliseconds := include "longshore.milliseconds" .value | float64 -}}
{{- $least := include "longshore.milliseconds" .least | float64 -}}
{{- $most := include "longshore.milliseconds" .most | float64 -}}
{{- if or (lt $milliseconds $least) (gt $milliseconds $most) -}}
{{- fail (printf "%s is %s: it must be from %s to %s" .name .value .least .most) -}}
{{- end -}}
{{- .value | quote -}}
{{- end -}}

{{- define "longshore.milliseconds" -}}
{{- $units := dict "ms" 1.0 "s" 1000.0 "m" 60000.0 "h" 3600000.0 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" . -1 -}}
{{- $sum = addf $sum (mulf (regexFind "[0-9.]+" .) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}
