<#
.SYNOPSIS
    Registers a backup with pgkeep in the Task Scheduler: daily or weekly, whether somebody is logged on or not.
    Programa un respaldo con pgkeep: diario o semanal, aunque nadie haya iniciado sesion.

.DESCRIPTION
    Makes %PROGRAMDATA%\pgkeep for administrators, the system and the task's user alone, and registers the task of
    pgkeep-daily.xml or pgkeep-weekly.xml with the paths of this computer. The task holds no secret: pgkeep.toml names
    where the connection string comes from, best a file in that folder.

.PARAMETER Weekly
    On Sundays instead of every day.

.PARAMETER At
    The time of day, such as 02:00.

.PARAMETER Program
    pgkeep.exe. Default: beside this script, else in C:\Program Files\pgkeep.

.PARAMETER Config
    pgkeep.toml. Default: %PROGRAMDATA%\pgkeep\pgkeep.toml.

.PARAMETER Logon
    S4U: as -User, no password is kept; it reaches local disks and the Internet, but no network shares.
    Password: as -User, and Windows asks for the password and keeps it; it reaches network shares too.
    System: as the computer itself; no user's folders such as OneDrive's.

.PARAMETER User
    The user of S4U and Password. Default: whoever runs this.

.PARAMETER Remove
    Takes the task away. Configuration, log and backups stay.

.EXAMPLE
    .\install-task.ps1

.EXAMPLE
    .\install-task.ps1 -Weekly -At 03:30 -Logon Password
#>
[CmdletBinding(SupportsShouldProcess = $true)]
param(
    [switch] $Weekly,
    [ValidatePattern('^([01][0-9]|2[0-3]):[0-5][0-9]$')]
    [string] $At = '02:00',
    [string] $Program,
    [string] $Config = (Join-Path $env:ProgramData 'pgkeep\pgkeep.toml'),
    [ValidateSet('S4U', 'Password', 'System')]
    [string] $Logon = 'S4U',
    [string] $User = [System.Security.Principal.WindowsIdentity]::GetCurrent().Name,
    [switch] $Remove
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'

$name = 'pgkeep-daily'
if ($Weekly) { $name = 'pgkeep-weekly' }

$me = New-Object System.Security.Principal.WindowsPrincipal([System.Security.Principal.WindowsIdentity]::GetCurrent())
if (-not $me.IsInRole([System.Security.Principal.WindowsBuiltInRole]::Administrator)) {
    throw 'This needs an administrator: open PowerShell with "Run as administrator" (Ejecutar como administrador) and start it again.'
}

if ($Remove) {
    if ($PSCmdlet.ShouldProcess($name, 'Unregister the task')) {
        Unregister-ScheduledTask -TaskName $name -Confirm:$false
        Write-Output "The task $name is gone. Configuration, log and backups stay."
    }
    return
}

if (-not $Program) {
    $Program = Join-Path $PSScriptRoot 'pgkeep.exe'
    if (-not (Test-Path -LiteralPath $Program)) { $Program = Join-Path $env:ProgramFiles 'pgkeep\pgkeep.exe' }
}
if (-not (Test-Path -LiteralPath $Program -PathType Leaf)) {
    throw "pgkeep.exe is not at $Program : copy it there, or name it with -Program."
}
$Program = (Resolve-Path -LiteralPath $Program).ProviderPath
$log = Join-Path $env:ProgramData 'pgkeep\pgkeep.log'
foreach ($path in @($Program, $Config, $log)) {
    # cmd replaces %NAME% even within quotes.
    if ($path -match '["%]') { throw "$path cannot stand in a task: it holds a quote or a percent sign." }
}

# Secrets lie in this folder: administrators and the system, by their numbers since their names are translated, and the
# user of the task. Nothing is inherited.
$folder = Join-Path $env:ProgramData 'pgkeep'
if ($PSCmdlet.ShouldProcess($folder, 'Create the folder and set who may enter')) {
    New-Item -ItemType Directory -Force -Path $folder | Out-Null
    $grants = @('*S-1-5-32-544:(OI)(CI)F', '*S-1-5-18:(OI)(CI)F')
    if ($Logon -ne 'System') { $grants += "${User}:(OI)(CI)M" }
    & icacls.exe $folder /inheritance:r /grant:r $grants | Out-Null
    if ($LASTEXITCODE -ne 0) { throw "icacls could not protect $folder (exit code $LASTEXITCODE)." }
}

# The XML beside this script, with the paths of this computer.
[xml] $task = Get-Content -LiteralPath (Join-Path $PSScriptRoot "$name.xml") -Raw -Encoding UTF8
$space = New-Object System.Xml.XmlNamespaceManager($task.NameTable)
$space.AddNamespace('t', 'http://schemas.microsoft.com/windows/2004/02/mit/task')
$exec = $task.SelectSingleNode('/t:Task/t:Actions/t:Exec', $space)
$line = '/d /s /c ""{0}" --quiet --config "{1}" backup now >>"{2}" 2>&1"' -f $Program, $Config, $log
$exec.SelectSingleNode('t:Arguments', $space).InnerText = $line
$exec.SelectSingleNode('t:WorkingDirectory', $space).InnerText = $folder
$start = $task.SelectSingleNode('//t:StartBoundary', $space)
$start.InnerText = $start.InnerText.Substring(0, 11) + $At + ':00'

$principal = $task.SelectSingleNode('/t:Task/t:Principals/t:Principal', $space)
$logonType = $principal.SelectSingleNode('t:LogonType', $space)
$userId = $task.CreateElement('UserId', $space.LookupNamespace('t'))
$userId.InnerText = $User
if ($Logon -eq 'System') {
    $userId.InnerText = 'S-1-5-18'
    [void] $principal.RemoveChild($logonType)
} else {
    $logonType.InnerText = $Logon
}
[void] $principal.PrependChild($userId)

if ($PSCmdlet.ShouldProcess($name, 'Register the task')) {
    $arguments = @{ TaskName = $name; Xml = $task.OuterXml; Force = $true }
    if ($Logon -eq 'Password') {
        $credential = Get-Credential -UserName $User -Message 'Windows keeps this password for the task pgkeep.'
        $arguments.User = $credential.UserName
        $arguments.Password = $credential.GetNetworkCredential().Password
    }
    Register-ScheduledTask @arguments | Out-Null
    Write-Output "The task $name is registered. What it says is appended to $log"
    if (-not (Test-Path -LiteralPath $Config)) { Write-Warning "There is no $Config yet: write it before $At." }
    Write-Output "Try it now: Start-ScheduledTask -TaskName $name"
}
