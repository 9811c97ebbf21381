import { spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const ROOT = join(import.meta.dirname, '../../..')
const BINARY = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug/dropcron')
const LINK = /log in once with this link: (http:\/\/[^/\s]+)\/login#token=(\S+)/
// A first start makes a whole cluster of Postgres; a busy machine takes its time.
const LONGEST_START = 180_000
const LONGEST_STOP = 60_000

/** A `dropcron serve` of a person who has just installed it: its own directories, its own Postgres, a free port. */
export class Server {
  private constructor(
    private readonly process: ChildProcess,
    private readonly directory: string,
    readonly origin: string,
    readonly token: string,
    private readonly said: () => string,
  ) {}

  static async start(scripts: Record<string, string> = {}): Promise<Server> {
    if (!existsSync(BINARY)) throw new Error(`\`${BINARY}\` is not there: run \`cargo build\` first`)
    const directory = mkdtempSync(join(tmpdir(), 'dropcron-page-'))
    // Started by root, Postgres runs as a user of its own, who must get through.
    chmodSync(directory, 0o755)
    for (const [path, content] of Object.entries(scripts)) write(join(directory, 'scripts', path), content)
    mkdirSync(join(directory, 'scripts'), { recursive: true })
    const child = spawn(BINARY, ['serve'], {
      cwd: directory,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOME: directory,
        DROPCRON_DATA_DIR: join(directory, 'data'),
        DROPCRON_SCRIPTS_DIR: join(directory, 'scripts'),
        DROPCRON_LISTEN: '127.0.0.1:0',
        NO_COLOR: '1',
      },
    })
    let log = ''
    const link = await new Promise<RegExpExecArray>((resolve, reject) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL')
        reject(new Error(`no link within ${LONGEST_START} ms:\n${log}`))
      }, LONGEST_START)
      child.once('exit', (code) => reject(new Error(`\`dropcron serve\` ended with ${code}:\n${log}`)))
      child.stderr.on('data', (data: Buffer) => {
        log += data.toString()
        const found = LINK.exec(log)
        if (found) {
          clearTimeout(timer)
          resolve(found)
        }
      })
    })
    child.removeAllListeners('exit')
    return new Server(child, directory, link[1] ?? '', link[2] ?? '', () => log)
  }

  /** The link that the first start prints. */
  get link(): string {
    return `${this.origin}/login#token=${this.token}`
  }

  /** What it has said so far. */
  get log(): string {
    return this.said()
  }

  /** Puts a script in place, as with `cp`. */
  write(path: string, content: string): void {
    write(join(this.directory, 'scripts', path), content)
  }

  /** Makes a file that a script waits for. */
  signal(name: string): void {
    writeFileSync(this.signalPath(name), '')
  }

  signalPath(name: string): string {
    return join(this.directory, name)
  }

  /** Ends it as a service manager does, and removes what it left. */
  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve))
    this.process.kill('SIGTERM')
    const timer = setTimeout(() => this.process.kill('SIGKILL'), LONGEST_STOP)
    if (this.process.exitCode === null) await ended
    clearTimeout(timer)
    rmSync(this.directory, { recursive: true, force: true })
  }
}

function write(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
}
