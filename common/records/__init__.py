"""What a run writes.

`logger` hands a record to `outputs` (terminal, JSON lines) and `dashboards`
(TensorBoard, wandb); `jsonl` is the format of metrics.jsonl, for those who read it too;
`video` writes films, `timing` measures.
"""
