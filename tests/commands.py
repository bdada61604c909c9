"""The commands that users have in their scripts, and what each of them means."""

# Word for word what users have in their scripts, and what each command means.
MINIGRID = {
    "python train_minigrid.py --cl --num_tasks=3 --tag=mg_new_cl_s1_1M --steps=750000 "
    "--seed=1 --logdir=logs_cl --del_exp_replay --sep_exp_eval_policies "
    "--wandb_proj_name=minigrid_new --minlen=5 --rssm_full_recon": {
        "cl": True,
        "num_tasks": 3,
        "tag": "mg_new_cl_s1_1M",
        "steps": 750_000,
        "seed": 1,
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "sep_exp_eval_policies": True,
        "wandb.project": "minigrid_new",
        "replay.minlen": 5,
        "rssm_full_recon": True,
    },
    "python train_minigrid.py --cl --num_tasks=3 --tag=mg_sb_fr_cl_s0_1M "
    "--wandb_proj_name=minigrid_state_bonus --steps=1000000 --seed=0 --logdir=logs_cl "
    "--del_exp_replay --sep_exp_eval_policies --wandb_proj_name=minigrid_new "
    "--minlen=5 --state_bonus --rssm_full_recon": {
        "cl": True,
        "num_tasks": 3,
        "tag": "mg_sb_fr_cl_s0_1M",
        "wandb.project": "minigrid_new",  # the later one wins
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "sep_exp_eval_policies": True,
        "replay.minlen": 5,
        "state_bonus": True,
        "rssm_full_recon": True,
    },
    "python train_minigrid.py --wandb_proj_name=minigrid_new --cl --num_tasks=3 "
    "--tag=mg_new_cl_p2e0.9_s6_1M --steps=750000 --seed=6 --plan2explore "
    "--expl_intr_scale=0.9 --expl_extr_scale=0.9 --logdir=logs --del_exp_replay "
    "--minlen=50 --rssm_full_recon --sep_exp_eval_policies": {
        "wandb.project": "minigrid_new",
        "cl": True,
        "num_tasks": 3,
        "tag": "mg_new_cl_p2e0.9_s6_1M",
        "steps": 750_000,
        "seed": 6,
        "expl_behavior": "Plan2Explore",
        "expl_intr_scale": 0.9,
        "expl_extr_scale": 0.9,
        "logdir": "logs",
        "del_exp_replay": True,
        "rssm_full_recon": True,
        "sep_exp_eval_policies": True,
    },
}

MINIHACK = {
    "python train_minihack.py --cl --cl_small --num_tasks=4 "
    "--tag=mh_cl_small_s0_1M --wandb_proj_name=minihack_task_dist "
    "--steps=1000000 --seed=0 --logdir=logs_cl --del_exp_replay "
    "--sep_exp_eval_policies --rssm_full_recon --minlen=5 "
    "--replay_capacity=1000000": {
        "cl": True,
        "cl_small": True,
        "num_tasks": 4,
        "tag": "mh_cl_small_s0_1M",
        "wandb.project": "minihack_task_dist",
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "sep_exp_eval_policies": True,
        "rssm_full_recon": True,
        "replay.minlen": 5,
        "replay.capacity": 1_000_000,
    },
    "python train_minihack.py --cl --cl_small --num_tasks=4 "
    "--tag=mh_cl_small_s0_1M --wandb_proj_name=minihack --steps=1000000 --seed=0 "
    "--logdir=logs_cl --del_exp_replay --minlen=5 --replay_capacity=1000000  "
    "--plan2explore --expl_intr_scale=0.9 --expl_extr_scale=0.9": {
        "cl": True,
        "cl_small": True,
        "num_tasks": 4,
        "tag": "mh_cl_small_s0_1M",
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "replay.minlen": 5,
        "replay.capacity": 1_000_000,
        "expl_behavior": "Plan2Explore",
        "expl_intr_scale": 0.9,
        "expl_extr_scale": 0.9,
        "pred_discount": False,
        "grad_heads": ("decoder",),
    },
    "python train_minihack.py --cl --cl_small --num_tasks=4 "
    "--tag=mh_cl_small_rs_s0_1M --wandb_proj_name=minihack_task_dist "
    "--steps=1000000 --seed=0 --logdir=logs_cl --del_exp_replay "
    "--sep_exp_eval_policies --minlen=5 --replay_capacity=1000000 "
    "--reservoir_sampling": {
        "cl": True,
        "cl_small": True,
        "num_tasks": 4,
        "tag": "mh_cl_small_rs_s0_1M",
        "wandb.project": "minihack_task_dist",
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "sep_exp_eval_policies": True,
        "replay.minlen": 5,
        "replay.capacity": 1_000_000,
        "replay.retention": "reservoir",
    },
    "python train_minihack.py --cl --cl_small --num_tasks=4 "
    "--tag=mh_cl_small_rs_s0_1M --wandb_proj_name=minihack --steps=1000000 "
    "--seed=0 --logdir=logs_cl --del_exp_replay --minlen=5 "
    "--replay_capacity=1000000  --plan2explore --expl_intr_scale=0.9 "
    "--expl_extr_scale=0.9 --reservoir_sampling": {
        "cl": True,
        "cl_small": True,
        "num_tasks": 4,
        "tag": "mh_cl_small_rs_s0_1M",
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "replay.minlen": 5,
        "replay.capacity": 1_000_000,
        "expl_behavior": "Plan2Explore",
        "expl_intr_scale": 0.9,
        "expl_extr_scale": 0.9,
        "replay.retention": "reservoir",
        "pred_discount": False,
        "grad_heads": ("decoder",),
    },
    "python train_minihack.py --cl --cl_small --num_tasks=4 "
    "--tag=mh_cl_small_rs_5050_s0_1M --wandb_proj_name=minihack --steps=1000000 "
    "--seed=0 --logdir=logs_cl --del_exp_replay --sep_exp_eval_policies "
    "--minlen=5 --replay_capacity=1000000 --reservoir_sampling "
    "--recent_past_sampl_thres=0.5": {
        "cl": True,
        "cl_small": True,
        "num_tasks": 4,
        "tag": "mh_cl_small_rs_5050_s0_1M",
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "sep_exp_eval_policies": True,
        "replay.minlen": 5,
        "replay.capacity": 1_000_000,
        "replay.retention": "reservoir",
        "replay.sampling": "recent",
    },
    "python train_minihack.py --cl --cl_small --num_tasks=4 "
    "--tag=mh_cl_small_cm_s0_1M --wandb_proj_name=minihack_task_dist "
    "--steps=1000000 --seed=0 --logdir=logs_cl --del_exp_replay "
    "--sep_exp_eval_policies --minlen=5 --replay_capacity=1000000 "
    "--coverage_sampling": {
        "cl": True,
        "cl_small": True,
        "num_tasks": 4,
        "tag": "mh_cl_small_cm_s0_1M",
        "wandb.project": "minihack_task_dist",
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "sep_exp_eval_policies": True,
        "replay.minlen": 5,
        "replay.capacity": 1_000_000,
        "replay.retention": "coverage",
    },
    "python train_minihack.py --cl --cl_small --num_tasks=4 "
    "--tag=mh_cl_small_rwd_new_s0_1M --wandb_proj_name=minihack_task_dist "
    "--steps=1000000 --seed=0 --logdir=logs_cl --del_exp_replay "
    "--sep_exp_eval_policies --minlen=5 --replay_capacity=1000000 "
    "--reward_sampling": {
        "cl": True,
        "cl_small": True,
        "num_tasks": 4,
        "tag": "mh_cl_small_rwd_new_s0_1M",
        "wandb.project": "minihack_task_dist",
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "sep_exp_eval_policies": True,
        "replay.minlen": 5,
        "replay.capacity": 1_000_000,
        "replay.sampling": "reward",
    },
    "python train_minihack.py --cl --num_tasks=8 --tag=mh_cl_s0_1M "
    "--wandb_proj_name=cl_8_tasks_RS --wandb_group=dv2 --steps=1000000 --seed=0 "
    "--logdir=logs_cl --del_exp_replay --sep_exp_eval_policies --minlen=5 "
    "--replay_capacity=2000000": {
        "cl": True,
        "num_tasks": 8,
        "tag": "mh_cl_s0_1M",
        "wandb.project": "cl_8_tasks_RS",
        "wandb.group": "dv2",
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "sep_exp_eval_policies": True,
        "replay.minlen": 5,
    },
    "python train_minihack.py --cl --num_tasks=8 --tag=mh_cl_p2e_s0_1M "
    "--wandb_proj_name=cl_8_tasks_RS --steps=1000000 --seed=0 --logdir=logs_cl "
    "--del_exp_replay --minlen=5 --replay_capacity=2000000 --reservoir_sampling": {
        "cl": True,
        "num_tasks": 8,
        "tag": "mh_cl_p2e_s0_1M",
        "wandb.project": "cl_8_tasks_RS",
        "logdir": "logs_cl",
        "del_exp_replay": True,
        "replay.minlen": 5,
        "replay.retention": "reservoir",
    },
}

# Later flags win: the same commands, smaller and shorter. An episode of 55 steps fills
# the windows of 50 that some of them ask for.
SHORT = (
    "--steps=60 --prefill=40 --time_limit=55 --eval_every=100 --log_every=20 "
    "--wandb_mode=disabled --rssm.deter=8 --rssm.hidden=8 --rssm_stoch=2 "
    "--rssm_discrete=2 --.*\\.cnn_depth=1 --.*\\.units=8 --.*\\.layers=1 "
    "--batch_size=2 --dataset.length=8 --imag_horizon=2 --disag_models=2"
)

INTERFERENCE = {
    "python interference.py --proc --num_tasks=1 --wandb_proj_name=interference "
    "--tag=proc_interference_s0 --steps=1000000 --seed=0 --logdir=logs "
    "--del_exp_replay --minlen=5": {
        "proc": True,
        "num_tasks": 1,
        "wandb.project": "interference",
        "tag": "proc_interference_s0",
        "steps": 1_000_000,
        "logdir": "logs",
        "del_exp_replay": True,
        "replay.minlen": 5,
    },
    "python interference.py --proc --num_tasks=1 --wandb_proj_name=interference "
    "--tag=proc_interference_p2e0.9_s0 --steps=1000000 --seed=0 --logdir=logs "
    "--del_exp_replay --minlen=5 --plan2explore --expl_intr_scale=0.9 "
    "--expl_extr_scale=0.9": {
        "proc": True,
        "num_tasks": 1,
        "wandb.project": "interference",
        "tag": "proc_interference_p2e0.9_s0",
        "steps": 1_000_000,
        "logdir": "logs",
        "del_exp_replay": True,
        "replay.minlen": 5,
        "expl_behavior": "Plan2Explore",
        "expl_intr_scale": 0.9,
        "expl_extr_scale": 0.9,
        "pred_discount": False,
        "grad_heads": ("decoder",),
    },
    "python interference.py --num_tasks=2 --wandb_proj_name=interference "
    "--wandb_proj_name=interference --tag=interference_sb_s0 --steps=1000000 --seed=0 "
    "--logdir=logs --del_exp_replay --minlen=5": {
        "num_tasks": 2,
        "wandb.project": "interference",
        "tag": "interference_sb_s0",
        "steps": 1_000_000,
        "logdir": "logs",
        "del_exp_replay": True,
        "replay.minlen": 5,
    },
    "python interference.py --num_tasks=2 --wandb_proj_name=interference "
    "--wandb_proj_name=interference --tag=interference_p2e0.5_sb_s3 --steps=1000000 "
    "--seed=3 --logdir=logs --del_exp_replay --minlen=5 --plan2explore "
    "--expl_intr_scale=0.5 --expl_extr_scale=0.5": {
        "num_tasks": 2,
        "wandb.project": "interference",
        "tag": "interference_p2e0.5_sb_s3",
        "steps": 1_000_000,
        "seed": 3,
        "logdir": "logs",
        "del_exp_replay": True,
        "replay.minlen": 5,
        "expl_behavior": "Plan2Explore",
        "expl_intr_scale": 0.5,
        "expl_extr_scale": 0.5,
        "pred_discount": False,
        "grad_heads": ("decoder",),
    },
}
