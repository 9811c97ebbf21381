/** What the server says of the keys of a header, in Chinese: the table in `src/script/key.rs`, whose keys a test compares. */
export const HEADER_WORDS: Readonly<Record<string, { words: string; default: string }>> = {
  schedule: {
    words:
      '何时运行：5 或 6 个字段的 cron 表达式、`@daily` 之类、`@every 10m`、`@at 2027-01-01T09:00`，或它们的列表',
    default: '无：仅手动运行',
  },
  timezone: {
    words: '计划所用的时区',
    default: '`DROPCRON_TIMEZONE`，否则 UTC',
  },
  enabled: {
    words: '计划是否生效',
    default: '是',
  },
  timeout: {
    words: '一次运行从放行算起最多多久；`none` 表示不限',
    default: '24 小时，除非调度器另有设置',
  },
  retries: {
    words: '未成功的运行何时、重试几次；单个数字就是 `max`',
    default: '0',
  },
  overlap: {
    words: '到期时若仍有运行未结束怎么办：`skip`、`queue`、`parallel` 或 `replace`',
    default: '跳过（skip）',
  },
  max_running: {
    words: '同时最多几个运行，不超过 1000；大于 1 需要 `overlap = "parallel"`',
    default: '1 个',
  },
  concurrency_group: {
    words: '同组任务同时只运行一个',
    default: '无',
  },
  queue: {
    words: '运行在哪个队列中等待；节点选择自己服务的队列',
    default: '默认队列（default）',
  },
  required_tags: {
    words: '节点必须具有的标签',
    default: '无：任何节点',
  },
  missed: {
    words: '没有节点在线时错过的时刻怎么办：`skip`、`latest` 或 `all`',
    default: '补最近一次（latest）',
  },
  grace: {
    words: '错过或排队的时刻最多可以晚多久启动',
    default: '无：多晚都行',
  },
  catch_up_limit: {
    words: '`missed = "all"` 最多补多少个时刻；上限 10000',
    default: '100 个',
  },
  jitter: {
    words: '把启动分散到多长的时间内，按任务名的哈希；少于一天',
    default: '0 秒',
  },
  env: {
    words: '脚本可见的调度器环境变量，按名称',
    default: '无',
  },
  secrets: {
    words: '脚本作为环境变量看到的密钥；值来自文件，在输出中被遮盖',
    default: '无',
  },
  args: {
    words: '`run()` 的关键字参数',
    default: '无',
  },
  keep_return_value: {
    words: '运行日志是否保存 `run()` 的返回值',
    default: '是',
  },
  value: {
    words: '对返回的数值的期望，或这种表的列表；违反期望的数值会被标记',
    default: '无：其序列只有提示',
  },
  keep_output: {
    words: '运行输出保存多久，若短于全局设置',
    default: '由 `DROPCRON_KEEP_OUTPUT` 决定',
  },
  keep_runs: {
    words: '运行日志的行保存多久，若短于全局设置',
    default: '由 `DROPCRON_KEEP_RUNS` 决定',
  },
  memory: {
    words: '一次运行的所有进程合计最多用多少内存；超过即被终止',
    default: '无',
  },
  cpu_seconds: {
    words: '运行的每个进程最多用多少 CPU 时间',
    default: '无',
  },
  processes: {
    words: '一次运行同时最多多少进程和线程',
    default: '无',
  },
  open_files: {
    words: '每个进程同时最多打开多少文件；至少 16',
    default: '无：与 dropcron 相同',
  },
  nice: {
    words: '运行的优先级，从 -20（最先）到 19（最后）；低于 0 需要特权',
    default: '无：与 dropcron 相同',
  },
  notify: {
    words: '失败、恢复、错过或延迟时通知哪些渠道；单个列表就是 `to`',
    default: '`DROPCRON_NOTIFY_FILE` 的 `[default]`',
  },
  python: {
    words: '使用哪个解释器，连同你装在那里的包；不能与 `dependencies` 同用',
    default: '无：符合 `requires-python` 的一个',
  },
  description: {
    words: '任务的用途，写给人看',
    default: '无',
  },
  owner: {
    words: '关于任务该问谁',
    default: '无',
  },
  tags: {
    words: '便于查找任务的词',
    default: '无',
  },
  'requires-python': {
    words: '脚本适用的 Python 版本',
    default: '无：任何版本',
  },
  dependencies: {
    words: '脚本需要的包',
    default: '无',
  },
}
