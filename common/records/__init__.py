"""What a run writes.

`logger` hands a record to `outputs` (terminal, JSON lines) and `dashboards`
(TensorBoard, wandb); `video` writes films, `timing` measures.
"""
